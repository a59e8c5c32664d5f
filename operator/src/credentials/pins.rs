//! The PINs of the regions' tokens.

use super::error::CredentialsError;
use super::given::given;
use crate::api_server::SecretStore;
use crate::conditions::{Check, Trouble};
use crate::paths::PIN_FILE;
use crate::random;
use crate::validate::{Fleet, Hsm, Pin, Pkcs11};

/// Creates the PINs that the operator makes, and reports what is wrong with the ones that people give. `may_make` is false once tokens may exist: a new
/// PIN would not open an old token.
pub(super) async fn pins(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
    may_make: bool,
) -> Result<Vec<Trouble>, CredentialsError> {
    let mut troubles = Vec::new();
    for region in &fleet.regions {
        let (made, what) = (fleet.names().pin(&region.name), format!("the PIN of region {}", region.name));
        match &region.hsm {
            Hsm::SoftHsm { pin: Pin::Made, .. } | Hsm::GcpKms { .. } => {
                let found = secrets.ours(&made).await?;
                let good = found.is_some_and(|c| c.get(PIN_FILE).is_some_and(|p| !p.is_empty()));
                if !good && may_make {
                    let pin = random::pin()?;
                    secrets.make(&made, [(PIN_FILE, pin.as_bytes())].into(), false).await?;
                } else if !good {
                    let why = format!(
                        "Secret {made} with {what} is missing or empty: restore it; a new PIN would not open the token"
                    );
                    troubles.push(Trouble::new(Check::PinSecret, made, why));
                }
            }
            Hsm::SoftHsm { pin: Pin::Given(key), .. }
            | Hsm::AwsCloudHsm { pin: key, .. }
            | Hsm::Pkcs11(Pkcs11 { pin: key, .. }) => {
                troubles.extend(given(secrets, key, &what, Check::PinSecret).await?);
            }
        }
    }
    Ok(troubles)
}
