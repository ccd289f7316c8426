{{/* Metadata of an object: tally.metadata (list $ NAME COMPONENT). */}}
{{- define "tally.metadata" -}}
{{- $ := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "tally.labels" (list $ (index . 2)) | nindent 2 }}
{{- end }}

{{/* The same of an object that is of no namespace. */}}
{{- define "tally.clusterMetadata" -}}
{{- $ := index . 0 -}}
name: {{ index . 1 }}
labels:
  {{- include "tally.labels" (list $ (index . 2)) | nindent 2 }}
{{- end }}

{{- define "tally.labels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/part-of: tally
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version }}
{{- end }}

{{/* Image and how it is pulled: tally.image (list $ PROGRAM). */}}
{{- define "tally.image" -}}
{{- $ := index . 0 -}}
{{- $image := $.Values.image -}}
image: {{ if $image.registry }}{{ $image.registry }}/{{ end }}{{ index . 1 }}:{{ $image.tag | default $.Chart.AppVersion }}
{{- with $image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{- define "tally.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* More variables, from a map. */}}
{{- define "tally.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Whether everybody may ask over plain HTTP. */}}
{{- define "tally.plainHttp" -}}
{{- if or .Values.plainHttp.enabled .Values.heapster.enabled }}yes{{ end }}
{{- end }}
