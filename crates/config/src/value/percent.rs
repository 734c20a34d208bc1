//! Percentages, kept in millionths of the whole so that they compare exactly (Envoy's
//! `FractionalPercent` with denominator MILLION is what they become on the wire).

use serde::{Deserialize, Deserializer, de};

/// Istio's `Percent` message: `{value: 12.5}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// The percentage, 0 when not given.
    pub value: Percentage,
}

impl Percent {
    /// The share in millionths: 1,000,000 is everything.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.value.0
    }
}

/// A number from 0 to 100 with a resolution of 0.0001 (Istio refuses finer non-zero values).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    /// From whole percent; more than 100 counts as 100.
    #[must_use]
    pub fn from_whole(percent: u32) -> Self {
        Self(percent.min(100) * 10_000)
    }

    /// The share in millionths: 1,000,000 is everything.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// The percentage as a number from 0 to 100.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(de::Error::custom(format_args!(
                "{percent} is not a percentage: it must be from 0 to 100"
            )));
        }
        if percent > 0.0 && percent < 0.0001 {
            return Err(de::Error::custom(format_args!(
                "{percent} is too small: a percentage is 0 or at least 0.0001"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be from 0 to 100 above"
        )]
        let millionths = (percent * 10_000.0).round() as u32;
        Ok(Self(millionths))
    }
}
