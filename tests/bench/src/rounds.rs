//! Several measurements of one thing.

/// The median of several rounds, and how far they lie apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl FromIterator<f64> for Rounds {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this share of all is below.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let sorted = self.sorted();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of some thousands"
        )]
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place).copied().unwrap_or_default()
    }

    /// Round by round how often `other` goes into this: what disturbs a round disturbs both of its
    /// sides, and so not their ratio.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs).collect())
    }

    /// Both together, round by round.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one + other).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl std::fmt::Display for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sorted = self.sorted();
        let (least, most) = (sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default());
        let decimals = if self.median() < 100.0 { 1 } else { 0 };
        let range = format!("({least:.decimals$}-{most:.decimals$})");
        write!(f, "{:>8.decimals$} {range:<15}", self.median())
    }
}
