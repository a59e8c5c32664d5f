//! Looks for a Secret's values in what people can read (S37).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Values below this length are searched as whole words: a PIN of four digits is part of many longer numbers.
const SHORT: usize = 8;

/// A secret, and the forms in which a program could show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoughtSecret {
    forms: Vec<String>,
}

impl SoughtSecret {
    /// Of the key `key` of a Secret. None if its value is public: a certificate, Helm's release with the whole chart, or the time since when an authority
    /// is spread.
    pub fn new(key: &str, value: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(value).trim().to_owned();
        let kind = key.rsplit('.').next().unwrap_or_default();
        if kind == "crt" || ["release", "since"].contains(&key) || text.is_empty() {
            return None;
        }
        let forms = if kind == "key" {
            // Each line of the base64 inside.
            text.lines().filter(|l| l.len() > 40 && !l.starts_with('-')).map(str::to_owned).collect()
        } else {
            let password =
                text.split_once("bkv:").and_then(|(_, rest)| rest.split_once('@')).map(|(p, _)| p.to_owned());
            [Some(STANDARD.encode(value)), password, Some(text)].into_iter().flatten().collect()
        };
        Some(Self { forms })
    }

    /// How many forms are searched for.
    pub fn forms(&self) -> usize {
        self.forms.len()
    }

    /// True if `text` shows the secret.
    pub fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| {
            if form.len() >= SHORT {
                return text.contains(form.as_str());
            }
            let part_of_a_word =
                |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "+/_-.".contains(c));
            text.match_indices(form.as_str()).any(|(at, _)| {
                let before = text.get(..at).and_then(|t| t.chars().next_back());
                let after = text.get(at + form.len()..).and_then(|t| t.chars().next());
                !part_of_a_word(before) && !part_of_a_word(after)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s37_a_pin_of_four_digits_is_searched_for() {
        let pin = SoughtSecret::new("pin", b"4711\n").unwrap();
        assert!(
            pin.is_in("C_Login pin=4711")
                && pin.is_in("pin:4711")
                && pin.is_in("{\"pin\":\"4711\"}")
                && pin.is_in("4711")
        );
        assert!(pin.is_in(&format!("pin: {}", STANDARD.encode(b"4711\n"))), "as the Secret holds it");
        assert!(!pin.is_in("port 14711, 47110, 0.4711 and 2026-4711"));
    }

    #[test]
    fn long_secrets_are_found_inside_of_words() {
        let password = SoughtSecret::new("password", b"correcthorse").unwrap();
        assert!(password.is_in("xcorrecthorsex") && !password.is_in("correct horse"));
        let url = SoughtSecret::new("url", b"postgres://bkv:correcthorse@db/bkv").unwrap();
        assert!(url.is_in("the password correcthorse was refused"));
    }

    #[test]
    fn what_is_public_is_not_searched_for() {
        for key in ["tls.crt", "ca.crt", "release", "since"] {
            assert_eq!(SoughtSecret::new(key, b"1790000000"), None, "{key}");
        }
    }
}
