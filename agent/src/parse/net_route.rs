//! `/proc/PID/net/route` and `ipv6_route`: which interface the default route goes over.

use super::line::{lines, words};

/// The interface of the IPv4 default route with the lowest metric; the first of equal ones.
///
/// Columns: interface, destination, gateway, flags, references, use, metric, mask, …; addresses
/// are hexadecimal.
pub fn default_interface(text: &[u8]) -> Option<&[u8]> {
    let routes = lines(text).skip(1).filter_map(|(_, line)| {
        let mut words = words(line);
        let interface = words.next()?;
        let destination = words.next()?;
        let metric = number(words.nth(4)?, 10)?;
        let mask = words.next()?;
        is_zero(destination).then_some(())?;
        is_zero(mask).then_some((metric, interface))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, interface)| interface)
}

/// The same of `ipv6_route`, for namespaces that have nothing but IPv6.
///
/// Columns: destination, prefix length, source, prefix length, next hop, metric, references, use,
/// flags, interface; all numbers hexadecimal. The kernel's own catch-all route is over `lo`.
pub fn default_interface_v6(text: &[u8]) -> Option<&[u8]> {
    let routes = lines(text).filter_map(|(_, line)| {
        let mut words = words(line);
        let (destination, length) = (words.next()?, words.next()?);
        let metric = number(words.nth(3)?, 16)?;
        let interface = words.nth(3)?;
        let is_default = is_zero(destination) && is_zero(length) && interface != b"lo";
        is_default.then_some((metric, interface))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, interface)| interface)
}

fn is_zero(digits: &[u8]) -> bool {
    digits.iter().all(|digit| *digit == b'0')
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[track_caller]
    fn check(routes: &str, expected: Option<&str>) {
        let text = format!("{HEADING}{routes}");
        assert_eq!(default_interface(text.as_bytes()), expected.map(str::as_bytes), "{routes:?}");
    }

    #[test]
    fn the_default_route_has_destination_and_mask_zero() {
        check("eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", None);
        check(
            "eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
             eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
            Some("eth0"),
        );
    }

    #[test]
    fn the_lowest_metric_wins() {
        check(
            "wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
            Some("eth0"),
        );
    }

    #[test]
    fn without_routes_there_is_no_default() {
        check("", None);
        check("eth0\t00000000\n", None);
    }

    #[test]
    fn ipv6_skips_the_kernels_own_catch_all() {
        let zeros = "0".repeat(32);
        let route = |metric: &str, interface: &str| {
            format!(
                "{zeros} 00 {zeros} 00 {zeros} {metric} 00000001 00000000 00450003     {interface}\n"
            )
        };
        let text = route("ffffffff", "lo") + &route("00000400", "eth0");
        assert_eq!(default_interface_v6(text.as_bytes()), Some(&b"eth0"[..]));
        assert_eq!(default_interface_v6(route("ffffffff", "lo").as_bytes()), None);
    }
}
