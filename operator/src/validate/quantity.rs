//! Kubernetes quantities of the form that the resource allows.

use std::fmt;

/// A quantity: its text and its value in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    thousandths: u128,
}

impl Quantity {
    /// Parses `10Gi`, `500m`, `1.5`. None if the text is not a quantity or too large.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(digits)?;
        let (whole, part) = number.split_once('.').map_or((number, None), |(w, p)| (w, Some(p)));
        if whole.is_empty() || whole.len() > 15 || part.is_some_and(|p| p.is_empty() || p.len() > 9) {
            return None;
        }
        let part = part.unwrap_or("0");
        // In billionths, so that up to nine decimals are exact.
        let billionths = whole.parse::<u128>().ok()? * 1_000_000_000
            + part.parse::<u128>().ok()? * 10u128.pow(9 - u32::try_from(part.len()).ok()?);
        let factor = match suffix {
            "m" => 1,
            "" => 1_000,
            "k" => 1_000_000,
            "M" => 1_000_000_000,
            "G" => 1_000_000_000_000,
            "T" => 1_000_000_000_000_000,
            "Ki" => 1_000 << 10,
            "Mi" => 1_000 << 20,
            "Gi" => 1_000 << 30,
            "Ti" => 1_000 << 40,
            _ => return None,
        };
        let thousandths = billionths.checked_mul(factor)? / 1_000_000_000;
        // The API server keeps 64 bits: 8 EiB and more don't fit.
        (thousandths <= u128::from(u64::MAX >> 1) * 1_000)
            .then(|| Self { text: text.to_owned(), thousandths })
    }

    /// A size in the API server's own notation: in another one the stored object would always differ from the plan.
    pub(super) fn mebibytes(amount: u32) -> Self {
        let text = if amount.is_multiple_of(1 << 10) {
            format!("{}Gi", amount >> 10)
        } else {
            format!("{amount}Mi")
        };
        Self { text, thousandths: (u128::from(amount) * 1_000) << 20 }
    }

    /// Thousandths of a core.
    pub(super) fn millicores(amount: u32) -> Self {
        Self { text: format!("{amount}m"), thousandths: u128::from(amount) }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its value in thousandths, for comparisons.
    pub const fn thousandths(&self) -> u128 {
        self.thousandths
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn quantities_are_worth_what_kubernetes_says() {
        for (text, thousandths) in [
            ("0", 0),
            ("500m", 500),
            ("1.5", 1_500),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("0.5Gi", 536_870_912_000),
            ("10Gi", 10_737_418_240_000),
            ("1Ti", 1_099_511_627_776_000),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().thousandths(), thousandths, "{text}");
        }
        for bad in [
            "",
            "Gi",
            "1.",
            ".5",
            "-1",
            "1e3",
            "1 Gi",
            "1gi",
            "1Pi",
            "1.2.3",
            "9999999999999999Ti",
            "9999999Ti",
        ] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Quantity::mebibytes(128), Quantity::parse("128Mi").unwrap());
        assert_eq!(Quantity::mebibytes(2048), Quantity::parse("2Gi").unwrap());
        assert_eq!(Quantity::millicores(250), Quantity::parse("250m").unwrap());
    }
}
