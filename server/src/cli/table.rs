//! Tables that fit the terminal, or 80 columns where there is none.

use std::io::IsTerminal as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

/// Columns when the output is no terminal.
const WIDTH: u16 = 80;
/// Widest first column that is kept whole.
const NAME_WIDTH: u16 = 40;

/// A table with these column heads; columns that are empty in every row are left out.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let used: Vec<usize> =
        (0..heads.len()).filter(|i| rows.iter().any(|r| r.get(*i).is_some_and(|cell| !cell.is_empty()))).collect();
    let pick = |cells: Vec<&str>| -> Vec<String> {
        used.iter().filter_map(|i| cells.get(*i)).map(|c| (*c).to_owned()).collect()
    };
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table.set_header(pick(heads.to_vec()));
    for row in rows {
        table.add_row(pick(row.iter().map(String::as_str).collect()));
    }
    // The first column is what the others are about, and what one copies: it is not broken.
    let widest = table.column_max_content_widths().first().copied().unwrap_or(0);
    if let Some(column) = table.column_mut(0).filter(|_| widest <= NAME_WIDTH) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_columns_are_left_out_and_lines_fit() {
        let long = "a very long model name that goes on and on ".repeat(3);
        let rows = vec![vec!["x".into(), String::new(), long.clone(), long]];
        let text = table(&["One", "Two", "Three", "Four"], &rows);
        assert!(!text.contains("Two"), "{text}");
        let name = "0.1.0+gcd379b8-production-a7ba21da";
        let text = table(&["Name", "What"], &[vec![name.into(), "word ".repeat(40)]]);
        assert!(text.contains(name), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= usize::from(WIDTH)), "{text}");
    }
}
