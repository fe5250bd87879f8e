//! What libFuzzer says of a run. Pure: its output goes in, figures come out.

/// The columns of [`Said::row`], as a table of `docs/FUZZING.md`.
pub(super) const HEADS: &str =
    "| target | seconds | executions | edges | corpus files | corpus bytes | found |\n|---|---|---|---|---|---|---|";

/// The figures of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Inputs that were run.
    executions: u64,
    /// Edges of the code that were reached.
    edges: u64,
    /// Where the input lies that the target did not stand.
    pub(super) find: Option<String>,
}

impl Said {
    /// Reads what was written to standard error.
    pub(super) fn read(text: &str) -> Self {
        let after = |mark: &str| {
            let found = text.lines().rev().find_map(|line| line.split_once(mark)?.1.split_whitespace().next());
            found.map(str::to_owned)
        };
        let number = |mark: &str| after(mark).and_then(|word| word.parse().ok()).unwrap_or_default();
        Self {
            executions: number("stat::number_of_executed_units:"),
            edges: number(" cov: "),
            find: after("Test unit written to "),
        }
    }

    /// A row of the table, with the files and bytes of the corpus.
    pub(super) fn row(&self, name: &str, seconds: u64, (files, bytes): (usize, u64)) -> String {
        let Self { executions, edges, find } = self;
        let found = if find.is_some() { "yes" } else { "" };
        format!("| {name} | {seconds} | {executions} | {edges} | {files} | {bytes} | {found} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_found_nothing() {
        let text = "#2\tINITED cov: 11 ft: 12 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #500\tDONE   cov: 97 ft: 200 corp: 9/80b lim: 8 exec/s: 500 rss: 41Mb\n\
                    Done 500 runs in 1 second(s)\nstat::number_of_executed_units: 500\nstat::slowest_unit_time_sec: 0\n";
        assert_eq!(Said::read(text), Said { executions: 500, edges: 97, find: None });
    }

    #[test]
    fn a_run_that_found_something() {
        let text = "#7\tNEW    cov: 5 ft: 6 corp: 2/3b\nartifact_prefix='t/'; Test unit written to t/crash-ab\nBase64: AA==\n\
                    stat::number_of_executed_units: 8\n";
        let said = Said::read(text);
        assert_eq!(said, Said { executions: 8, edges: 5, find: Some("t/crash-ab".to_owned()) });
        assert_eq!(said.row("a", 3, (1, 2)), "| a | 3 | 8 | 5 | 1 | 2 | yes |");
    }
}
