//! The number of a JSON file's format.

use serde::Deserialize;

#[derive(Deserialize)]
struct Numbered {
    #[serde(default = "first")]
    format: u32,
}

/// Files of the first format may have no number.
const fn first() -> u32 {
    1
}

/// Refuses a file of a format that this program does not know. Its other fields are not read, so that a newer file is not reported as broken.
pub(crate) fn check_number(json: &[u8], known: u32) -> Result<(), String> {
    let Numbered { format } =
        serde_json::from_slice(json).map_err(|_| "not JSON of its format".to_owned())?;
    if format == known {
        return Ok(());
    }
    Err(format!(
        "format {format}, and this program knows format {known}: use the program that wrote it, or a newer one"
    ))
}
