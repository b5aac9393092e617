//! Several measurements of one thing.

/// The median of several rounds, and how far they lie apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        let place = self.0.partition_point(|other| *other < value);
        self.0.insert(place, value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = (self.0.first().copied().unwrap_or_default(), self.0.last().copied().unwrap_or_default());
        let decimals = if self.median() < 100.0 { 1 } else { 0 };
        let range = format!("({least:.decimals$}-{most:.decimals$})");
        write!(f, "{:>8.decimals$} {range:<15}", self.median())
    }
}
