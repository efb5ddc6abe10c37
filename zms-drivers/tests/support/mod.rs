//! What the contract suites share: running a table of cases.

/// Makes `ALL` (or another name) a table of cases: async functions of one bench, with their names.
macro_rules! cases {
    ($table:ident: $($case:ident),* $(,)?) => {
        pub const $table: &[(&str, Case)] = &[$((stringify!($case), |bench| Box::pin($case(bench)))),*];
    };
}

/// Runs each case of a table on a bench within a minute, says which one it is at, and gives their number.
macro_rules! run {
    ($cases:expr, $bench:expr) => {{
        let (bench, cases) = ($bench, $cases);
        for (name, case) in cases {
            println!("{}: {name}", bench.name());
            let done = tokio::time::timeout(std::time::Duration::from_secs(60), case(bench)).await;
            assert!(done.is_ok(), "{name} on {}: not done within 60 s", bench.name());
        }
        cases.len()
    }};
}
