//! What was measured, against what was promised.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::rounds::Rounds;

#[derive(clap::Args)]
pub(crate) struct Reporting {
    /// Report a missed bar, but do not fail
    #[arg(long)]
    no_fail: bool,
    /// Print a summary object as the last line
    #[arg(long)]
    json: bool,
}

/// What a figure or a ratio has to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

impl Bar {
    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
            Self::Exactly(bar) => (value - bar).abs() < 1e-9,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bar) => write!(f, ">= {bar:.2}"),
            Self::AtMost(bar) => write!(f, "<= {bar:.2}"),
            Self::Exactly(bar) => write!(f, "= {bar}"),
        }
    }
}

/// A measurement's printed lines and its verdict.
pub(crate) struct Report {
    name: &'static str,
    rows: Vec<Value>,
    bars: usize,
    missed: usize,
}

impl Report {
    pub(crate) fn new(name: &'static str, conditions: &str) -> Self {
        println!("{name}: {conditions}; medians (least-most)\n");
        Self { name, rows: Vec::new(), bars: 0, missed: 0 }
    }

    /// Two sides and the median of their ratios, ours to theirs.
    pub(crate) fn compare(&mut self, what: &str, [ours, theirs]: [&Rounds; 2], bar: Option<Bar>) {
        let ratio = ours.ratio_to(theirs).median();
        let verdict = self.verdict(ratio, bar);
        println!("{what:<34} {ours} against {theirs} {ratio:>6.2}x  {verdict}");
        let (ours, theirs) = (ours.median(), theirs.median());
        self.rows.push(json!({
            "what": what, "ours": ours, "theirs": theirs, "ratio": ratio,
            "bar": bar.map(|bar| bar.to_string()), "kept": bar.is_none_or(|bar| bar.is_kept_by(ratio)),
        }));
    }

    /// One figure.
    pub(crate) fn figure(&mut self, what: &str, value: f64, bar: Option<Bar>) {
        let verdict = self.verdict(value, bar);
        println!("{what:<60} {value:>8.2}  {verdict}");
        self.rows.push(json!({
            "what": what, "value": value,
            "bar": bar.map(|bar| bar.to_string()), "kept": bar.is_none_or(|bar| bar.is_kept_by(value)),
        }));
    }

    fn verdict(&mut self, value: f64, bar: Option<Bar>) -> String {
        self.bars += usize::from(bar.is_some());
        match bar {
            None => String::new(),
            Some(bar) if bar.is_kept_by(value) => format!("bar {bar}, kept"),
            Some(bar) => {
                self.missed += 1;
                format!("bar {bar}, MISSED")
            }
        }
    }

    /// Failure where a bar was missed, unless that was to be reported only.
    pub(crate) fn finish(self, reporting: &Reporting) -> ExitCode {
        match self.missed {
            0 if self.bars == 0 => {}
            0 => println!("\n{}: every bar kept", self.name),
            missed => println!("\n{}: {missed} bars missed", self.name),
        }
        if reporting.json {
            println!("{}", json!({"measurement": self.name, "kept": self.missed == 0, "rows": self.rows}));
        }
        ExitCode::from(u8::from(self.missed > 0 && !reporting.no_fail))
    }
}
