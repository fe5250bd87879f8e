//! Tables that fit the terminal, or 80 columns where there is none.

use std::io::IsTerminal as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use crate::human;

/// Columns when the output is no terminal.
const WIDTH: u16 = 80;
/// Widest first column that is kept whole.
const NAME_WIDTH: u16 = 40;
/// Widest other column that is kept whole: a time.
const SHORT: u16 = 20;
/// Columns that each other column should be left.
const ROOM: u16 = 8;
/// Blanks on both sides of a cell.
const PADDING: u16 = 2;

/// A table with these column heads; columns that are empty in every row are left out. Cells may hold any text of a machine.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let used: Vec<usize> =
        (0..heads.len()).filter(|i| rows.iter().any(|r| r.get(*i).is_some_and(|cell| !cell.is_empty()))).collect();
    let pick = |cells: Vec<&str>| -> Vec<String> {
        used.iter().filter_map(|i| cells.get(*i)).map(|c| human::plain(c).into_owned()).collect()
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
    // What one copies is not broken: the first column, and short ones while the others have room.
    let widths = table.column_max_content_widths();
    let mut room = WIDTH;
    for (index, column) in table.column_iter_mut().enumerate() {
        let width = widths.get(index).copied().unwrap_or(0);
        let others = u16::try_from(widths.len() - index - 1).unwrap_or(0) * ROOM;
        let limit = if index == 0 { NAME_WIDTH } else { SHORT };
        if width <= limit && width + PADDING + others <= room {
            column.set_constraint(ColumnConstraint::ContentWidth);
            room -= width + PADDING;
        } else {
            room = room.saturating_sub(ROOM);
        }
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
