//! The values of a series as what is coded of them: the first, and by how much each exceeds the one
//! before.

use std::cell::Cell;

use super::floats::Form;

/// Values that are compared at once: of a series that moves few more are looked at.
const VALUES_COMPARED: usize = 16;

/// Whether all values are the same, as most series' are: they need not be gone through again.
fn is_still(values: &[i64]) -> bool {
    let Some(first) = values.first() else { return true };
    let differs = |some: &[i64]| some.iter().fold(0, |all, one| all | (one ^ first)) != 0;
    !values.chunks(VALUES_COMPARED).any(differs)
}

/// How the values of a series are coded, the first of them so, and by how much each exceeds the one
/// before, in the same memory; nothing where none does.
pub(super) fn differences(floating: bool, mut values: Vec<i64>) -> (Form, i64, Vec<i64>) {
    if is_still(&values) {
        let first = values.get(..1).unwrap_or_default();
        let form = Form::of(floating, first);
        return (form, first.first().map_or(0, |first| form.there(*first)), Vec::new());
    }
    let form = Form::of(floating, &values);
    if form != Form::Integers {
        values.iter_mut().for_each(|value| *value = form.there(*value));
    }
    let first = values.first().copied().unwrap_or(0);
    for pair in Cell::from_mut(values.as_mut_slice()).as_slice_of_cells().windows(2) {
        if let [before, now] = pair {
            before.set(now.get().wrapping_sub(before.get()));
        }
    }
    values.pop();
    (form, first, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_still_where_no_value_differs() {
        for length in [0, 1, 16, 17, 40] {
            let mut values = vec![-7; length];
            assert!(is_still(&values), "{length}");
            assert!(differences(false, values.clone()).2.is_empty());
            if let [_, .., last] = values.as_mut_slice() {
                *last = 1;
                assert!(!is_still(&values), "{length}");
            }
        }
    }
}
