//! A Secret that people make and the resource names.

use crate::api_server::{ObjectError, SecretStore};
use crate::conditions::{Check, Trouble};
use crate::validate::KeyOf;

/// Reports what is wrong with the Secret. `what` names the wanted content for people.
pub(super) async fn given(
    secrets: &SecretStore<'_>,
    key: &KeyOf,
    what: &str,
    check: Check,
) -> Result<Option<Trouble>, ObjectError> {
    let (name, wanted) = (&key.name, &key.key);
    let trouble = |why: String| Some(Trouble::new(check, name.clone(), why));
    Ok(match secrets.read(name).await? {
        None => {
            trouble(format!("Secret {name} is not there: create it with {what} under the key `{wanted}`"))
        }
        Some((content, _)) => match content.get(wanted) {
            None => trouble(format!("Secret {name} has no key `{wanted}`: put {what} there")),
            Some([]) => trouble(format!("Secret {name}: `{wanted}` is empty; put {what} there")),
            Some(_) => None,
        },
    })
}
