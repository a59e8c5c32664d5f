//! The table on the terminal and the results file, as pure functions. A row without a value is shown as not measured, and its goal does not hold.

use std::fmt::Write as _;

use serde::Serialize;

/// The goal for a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// No goal: the value is for comparison.
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn holds(self, value: Option<f64>) -> Option<bool> {
        match self {
            Self::None => None,
            // A goal that was not measured does not hold.
            Self::AtLeast(goal) => Some(value.is_some_and(|v| v >= goal)),
            Self::AtMost(goal) => Some(value.is_some_and(|v| v <= goal)),
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::AtLeast(goal) => Some(format!("≥ {goal}")),
            Self::AtMost(goal) => Some(format!("≤ {goal}")),
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub name: String,
    /// None: not measured.
    pub value: Option<f64>,
    pub unit: &'static str,
    pub goal: Option<String>,
    pub holds: Option<bool>,
}

/// All rows, in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: Option<f64>,
        unit: &'static str,
        goal: Goal,
    ) {
        let value = value.filter(|v| v.is_finite());
        self.rows.push(Row { name: name.into(), value, unit, goal: goal.text(), holds: goal.holds(value) });
    }

    /// Adds a row that is not measured, unless the figure is there.
    pub(crate) fn require(&mut self, name: &str, unit: &'static str, goal: Goal) {
        if self.rows.iter().all(|r| r.name != name) {
            self.add(name, None, unit, goal);
        }
    }

    /// True if every goal holds.
    pub(crate) fn holds(&self) -> bool {
        self.rows.iter().all(|r| r.holds != Some(false))
    }

    /// `[{name, value, unit, goal, holds}]`
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.rows).unwrap_or_default()
    }

    pub(crate) fn table(&self) -> String {
        let mut cells = vec![["name", "value", "unit", "goal", "holds"].map(str::to_owned)];
        for row in &self.rows {
            cells.push([
                row.name.clone(),
                row.value.map_or_else(|| "not measured".into(), figure),
                row.unit.into(),
                row.goal.clone().unwrap_or_default(),
                match row.holds {
                    Some(true) => "yes".into(),
                    Some(false) => "NO".into(),
                    None => String::new(),
                },
            ]);
        }
        let mut widths = [0; 5];
        for line in &cells {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut table = String::new();
        for [name, value, unit, goal, holds] in cells {
            let [a, b, c, d, _] = widths;
            let line = format!("{name:<a$}  {value:>b$}  {unit:<c$}  {goal:<d$}  {holds}");
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }
}

/// Three significant digits.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add("recover.rate.128", Some(512.34), "1/s", Goal::AtLeast(500.0));
        report.add("recover.p50.1", Some(12.0), "ms", Goal::AtMost(10.0));
        report.add("gap.killed", None, "s", Goal::AtMost(1.0));
        report.add("recover.rate.1", Some(f64::NAN), "1/s", Goal::None);
        report
    }

    #[test]
    fn a_goal_that_was_not_measured_does_not_hold() {
        let report = report();
        let holds: Vec<_> = report.rows.iter().map(|r| r.holds).collect();
        assert_eq!(holds, [Some(true), Some(false), Some(false), None]);
        assert!(!report.holds());
        let mut again = Report::default();
        again.require("gap.killed", "s", Goal::AtMost(1.0));
        again.require("gap.killed", "s", Goal::AtMost(1.0));
        assert_eq!((again.rows.len(), again.holds()), (1, false));
        let mut good = Report::default();
        good.add("x", Some(1.0), "", Goal::AtMost(1.0));
        assert!(good.holds());
    }

    #[test]
    fn the_file_has_five_fields_a_row() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(
            json[0],
            serde_json::json!({"name": "recover.rate.128", "value": 512.34, "unit": "1/s", "goal": "≥ 500", "holds": true})
        );
        assert!(json[2]["value"].is_null() && json[3]["value"].is_null());
        assert_eq!(json.as_array().unwrap().len(), 4);
    }

    #[test]
    fn columns_are_aligned() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        let column = |line: &str, word: &str| line.split(word).next().unwrap().chars().count();
        assert_eq!(column(lines[0], "goal"), column(lines[1], "≥"));
        assert_eq!(column(lines[1], "≥"), column(lines[2], "≤"));
        assert!(lines[2].ends_with("NO") && lines[3].contains("not measured"), "{table}");
    }
}
