//! No parser panics, whatever the bytes are.

use proptest::prelude::*;

use super::*;

/// Feeds one text to every parser. The results do not matter here.
fn parse_as_everything(text: &[u8]) {
    let results = [
        blkio_v1::each(text, |_, _, _| ()).is_ok(),
        cpu_limit::parse_v2(text).is_ok(),
        cpu_limit::parse_quota_v1(text).is_ok(),
        cpu_stat_v1::parse(text).is_ok(),
        cpu_stat_v2::parse(text).is_ok(),
        diskstats::each(text, |_| ()).is_ok(),
        io_stat_v2::each(text, |_, _| ()).is_ok(),
        loadavg::parse(text).is_ok(),
        meminfo::parse(text).is_ok(),
        memory_stat_v1::parse(text).is_ok(),
        memory_stat_v2::parse(text).is_ok(),
        mountinfo::each(text, |mount| drop(mountinfo::path(mount.point))).is_ok(),
        net_dev::each(text, |_| ()).is_ok(),
        net_route::default_interface(text).is_some(),
        net_route::default_interface_v6(text).is_some(),
        number::parse_limit(text).is_ok(),
        number::parse_memory_limit_v1(text).is_ok(),
        number::parse_number(text).is_ok(),
        oom_kills::parse(text).is_ok(),
        pressure::parse(text).is_ok(),
        proc_stat::parse(text).is_ok(),
        process_cgroup::each(text, |_| ()).is_ok(),
        process_stat::parse(text).is_ok(),
        processes::each(text, |_| ()).is_ok(),
        vmstat::parse(text).is_ok(),
    ];
    // Counting cannot fail, so there is a result in any case.
    assert!(!results.is_empty() && usize::try_from(processes::count(text)).unwrap() <= text.len());
}

/// Texts of the kernel's words in any order, which get deeper into the parsers than any bytes.
fn kernel_like() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        "[a-z_]{1,12}",
        "[0-9]{1,21}",
        Just("usage_usec".to_owned()),
        Just("total_rss".to_owned()),
        Just("inactive_file".to_owned()),
        Just("some".to_owned()),
        Just("total=18446744073709551615".to_owned()),
        Just("254:0".to_owned()),
        Just("Read".to_owned()),
        Just("rbytes=1".to_owned()),
        Just("eth0:".to_owned()),
        Just("MemTotal:".to_owned()),
        Just("cpu".to_owned()),
        Just("btime".to_owned()),
        Just("max".to_owned()),
        Just("-".to_owned()),
        Just("\\040".to_owned()),
        Just("2/102".to_owned()),
        Just("(a)".to_owned()),
        Just("00000000".to_owned()),
    ];
    let separators = prop_oneof![Just(" "), Just("\n"), Just("\t"), Just("  "), Just("=")];
    prop::collection::vec((words, separators), 0..60)
        .prop_map(|parts| parts.into_iter().map(|(word, separator)| word + separator).collect())
}

proptest! {
    #[test]
    fn arbitrary_bytes_panic_no_parser(text in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_as_everything(&text);
    }

    #[test]
    fn the_kernels_words_in_any_order_panic_no_parser(text in kernel_like()) {
        parse_as_everything(text.as_bytes());
    }
}
