//! Kubernetes quantities: `100m`, `128Mi`, `1.5`, `2e3`.

/// Text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity such as 100m, 1.5 or 128Mi")]
pub struct BadQuantity(pub String);

/// The quantity in thousandths, rounded away from zero as Kubernetes does.
pub(super) fn thousandths(text: &str) -> Result<i64, BadQuantity> {
    scaled(text, 1000).ok_or_else(|| BadQuantity(text.to_owned()))
}

/// The quantity in whole units, rounded away from zero as Kubernetes does.
pub(super) fn units(text: &str) -> Result<i64, BadQuantity> {
    scaled(text, 1).ok_or_else(|| BadQuantity(text.to_owned()))
}

/// Exact in integers: digits, a power of ten and a multiplier, and one division at the end.
fn scaled(text: &str, scale: i128) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || 24 < whole.len() + fraction.len() {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let (multiplier, power) = multiplier(suffix)?;
    let power = power - i32::try_from(fraction.len()).ok()?;
    let top = digits.checked_mul(multiplier)?.checked_mul(scale)?;
    let ten = 10i128.checked_pow(power.unsigned_abs())?;
    let rounded = if 0 <= power { top.checked_mul(ten)? } else { (top + ten - 1) / ten };
    i64::try_from(sign * rounded).ok()
}

/// What a suffix multiplies by, as a factor and a power of ten.
fn multiplier(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&power).then_some((1, power))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, milli: Option<i64>, whole: Option<i64>) {
        assert_eq!((thousandths(text).ok(), units(text).ok()), (milli, whole), "{text:?}");
    }

    #[test]
    fn every_suffix_counts() {
        check("100m", Some(100), Some(1));
        check("1.5", Some(1500), Some(2));
        check("128Mi", Some(134_217_728_000), Some(134_217_728));
        check("2e3", Some(2_000_000), Some(2000));
        check("1k", Some(1_000_000), Some(1000));
        check("0", Some(0), Some(0));
        check("-1", Some(-1000), Some(-1));
        check("-5.5", Some(-5500), Some(-6));
        check("1E", None, Some(1_000_000_000_000_000_000));
        check("500n", Some(1), Some(1));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "m", "1.2.3", "1 Gi", "1e99", "ten", "0x10", "99999999999999999999999999"]
        {
            check(text, None, None);
        }
    }
}
