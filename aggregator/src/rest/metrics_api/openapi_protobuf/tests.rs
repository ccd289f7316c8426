//! Messages of gnostic's `OpenAPIv2.proto` as others read them, and what they say as JSON.

use prost::Message;
use serde_json::json;

use super::{super::openapi, *};

macro_rules! messages {
    ($($name:ident { $($field:ident: $type:ty = $kind:meta;)* })*) => {
        $(#[derive(Clone, PartialEq, Message)]
        struct $name { $(#[$kind] $field: $type,)* })*
    };
}

messages! {
    Document {
        swagger: String = prost(string, tag = "1");
        info: Option<Info> = prost(message, optional, tag = "2");
        paths: Option<Paths> = prost(message, optional, tag = "8");
        definitions: Option<Properties> = prost(message, optional, tag = "9");
    }
    Info {
        title: String = prost(string, tag = "1");
        version: String = prost(string, tag = "2");
    }
    Paths { path: Vec<NamedPathItem> = prost(message, repeated, tag = "2"); }
    NamedPathItem {
        name: String = prost(string, tag = "1");
        value: Option<PathItem> = prost(message, optional, tag = "2");
    }
    PathItem { get: Option<Operation> = prost(message, optional, tag = "2"); }
    Operation {
        tags: Vec<String> = prost(string, repeated, tag = "1");
        description: String = prost(string, tag = "3");
        operation_id: String = prost(string, tag = "5");
        produces: Vec<String> = prost(string, repeated, tag = "6");
        parameters: Vec<ParametersItem> = prost(message, repeated, tag = "8");
        responses: Option<Responses> = prost(message, optional, tag = "9");
        schemes: Vec<String> = prost(string, repeated, tag = "10");
        extensions: Vec<NamedAny> = prost(message, repeated, tag = "13");
    }
    ParametersItem { parameter: Option<Parameter> = prost(message, optional, tag = "1"); }
    Parameter { non_body: Option<NonBody> = prost(message, optional, tag = "2"); }
    NonBody {
        query: Option<InQuery> = prost(message, optional, tag = "3");
        path: Option<InPath> = prost(message, optional, tag = "4");
    }
    InQuery {
        required: bool = prost(bool, tag = "1");
        place: String = prost(string, tag = "2");
        description: String = prost(string, tag = "3");
        name: String = prost(string, tag = "4");
        kind: String = prost(string, tag = "6");
        unique_items: bool = prost(bool, tag = "20");
    }
    InPath {
        required: bool = prost(bool, tag = "1");
        place: String = prost(string, tag = "2");
        description: String = prost(string, tag = "3");
        name: String = prost(string, tag = "4");
        kind: String = prost(string, tag = "5");
        unique_items: bool = prost(bool, tag = "19");
    }
    Responses { code: Vec<NamedResponse> = prost(message, repeated, tag = "1"); }
    NamedResponse {
        name: String = prost(string, tag = "1");
        value: Option<ResponseValue> = prost(message, optional, tag = "2");
    }
    ResponseValue { response: Option<Response> = prost(message, optional, tag = "1"); }
    Response {
        description: String = prost(string, tag = "1");
        schema: Option<SchemaItem> = prost(message, optional, tag = "2");
    }
    SchemaItem { schema: Option<Schema> = prost(message, optional, tag = "1"); }
    Schema {
        reference: String = prost(string, tag = "1");
        format: String = prost(string, tag = "2");
        description: String = prost(string, tag = "4");
        required: Vec<String> = prost(string, repeated, tag = "19");
        additional: Option<Box<Additional>> = prost(message, optional, boxed, tag = "21");
        kind: Option<Kinds> = prost(message, optional, tag = "22");
        items: Option<Items> = prost(message, optional, tag = "23");
        properties: Option<Properties> = prost(message, optional, tag = "25");
        extensions: Vec<NamedAny> = prost(message, repeated, tag = "31");
    }
    Additional { schema: Option<Box<Schema>> = prost(message, optional, boxed, tag = "1"); }
    Kinds { value: Vec<String> = prost(string, repeated, tag = "1"); }
    Items { schema: Vec<Schema> = prost(message, repeated, tag = "1"); }
    Properties { all: Vec<NamedSchema> = prost(message, repeated, tag = "1"); }
    NamedSchema {
        name: String = prost(string, tag = "1");
        value: Option<Schema> = prost(message, optional, tag = "2");
    }
    NamedAny {
        name: String = prost(string, tag = "1");
        value: Option<Any> = prost(message, optional, tag = "2");
    }
    Any { yaml: String = prost(string, tag = "2"); }
}

/// An object of those fields that say something.
fn object<const N: usize>(fields: [(&str, Value); N], extensions: &[NamedAny]) -> Value {
    let says = |value: &Value| *value != json!("") && *value != json!([]) && !value.is_null();
    let fields = fields.into_iter().filter(|(_, value)| says(value));
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let extensions = extensions.iter().map(|one| {
        let yaml = &one.value.as_ref().unwrap().yaml;
        (one.name.clone(), serde_saphyr::from_str(yaml).unwrap())
    });
    Value::Object(fields.chain(extensions).collect())
}

impl Schema {
    fn json(&self) -> Value {
        let kind = self.kind.as_ref().map(|kinds| kinds.value.concat());
        let additional = self.additional.as_ref().map(|one| one.schema.as_ref().unwrap().json());
        let fields = [
            ("$ref", json!(self.reference)),
            ("format", json!(self.format)),
            ("description", json!(self.description)),
            ("required", json!(self.required)),
            ("type", json!(kind)),
            ("additionalProperties", json!(additional)),
            ("items", json!(self.items.as_ref().map(|items| items.schema[0].json()))),
            ("properties", json!(self.properties.as_ref().map(Properties::json))),
        ];
        object(fields, &self.extensions)
    }
}

impl Properties {
    fn json(&self) -> Value {
        let named = |one: &NamedSchema| (one.name.clone(), one.value.as_ref().unwrap().json());
        Value::Object(self.all.iter().map(named).collect())
    }
}

impl ParametersItem {
    fn json(&self) -> Value {
        let one = self.parameter.as_ref().and_then(|one| one.non_body.as_ref()).unwrap();
        let (required, unique, texts) = match (&one.query, &one.path) {
            (Some(one), None) => (
                one.required,
                one.unique_items,
                [&one.place, &one.description, &one.name, &one.kind],
            ),
            (None, Some(one)) => (
                one.required,
                one.unique_items,
                [&one.place, &one.description, &one.name, &one.kind],
            ),
            _ => panic!("it is in one place"),
        };
        let [place, description, name, kind] = texts;
        json!({
            "required": required, "in": place, "description": description, "name": name, "type": kind,
            "uniqueItems": unique,
        })
    }
}

impl Response {
    fn json(&self) -> Value {
        let schema = self.schema.as_ref().and_then(|item| item.schema.as_ref()).unwrap();
        json!({ "description": self.description, "schema": schema.json() })
    }
}

impl Operation {
    fn json(&self) -> Value {
        let responses = self.responses.iter().flat_map(|all| &all.code).map(|one| {
            let response = one.value.as_ref().and_then(|value| value.response.as_ref()).unwrap();
            (one.name.clone(), response.json())
        });
        let parameters: Vec<Value> = self.parameters.iter().map(ParametersItem::json).collect();
        let fields = [
            ("tags", json!(self.tags)),
            ("description", json!(self.description)),
            ("operationId", json!(self.operation_id)),
            ("produces", json!(self.produces)),
            ("schemes", json!(self.schemes)),
            ("responses", Value::Object(responses.collect())),
        ];
        let mut json = object(fields, &self.extensions);
        json["parameters"] = json!(parameters);
        json
    }
}

#[test]
fn it_says_what_the_json_says() {
    let json = openapi::v2();
    let bytes = document(&json);
    let read = Document::decode(bytes.as_slice()).unwrap();
    // What is not known would be left out, as `false` is, which the parameters of lists say.
    let falses = json.to_string().matches(":false").count();
    assert_eq!(read.encoded_len() + 2 * falses, bytes.len(), "nothing else is in it");
    let (info, paths) = (read.info.unwrap(), read.paths.unwrap());
    let path = |one: &NamedPathItem| {
        let get = one.value.as_ref().and_then(|item| item.get.as_ref()).unwrap();
        (one.name.clone(), json!({ "get": get.json() }))
    };
    let said = json!({
        "swagger": read.swagger,
        "info": { "title": info.title, "version": info.version },
        "paths": Value::Object(paths.path.iter().map(path).collect()),
        "definitions": read.definitions.unwrap().json(),
    });
    assert_eq!(said, json);
}
