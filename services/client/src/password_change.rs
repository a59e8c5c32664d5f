//! Change of password: proves the old one, then registers the same key under the new one, signed by its owner.

use crate::client::Client;
use crate::error::Error;
use crate::recover::RecoverOptions;
use crate::register::{RegisterOptions, Registered};

impl Client {
    /// Checks the new password before it tries the old one, so that a refused new password costs no try.
    pub async fn change_password(
        &self,
        old: &str,
        new: &str,
        account_names: &[&str],
        options: RecoverOptions<'_>,
    ) -> Result<Registered, Error> {
        bkv_crypto::password::Prepared::new(new)?.check_new(account_names)?;
        let recovered = self.recover(old, RecoverOptions { no_renewal: true, ..options }).await?;
        let register = RegisterOptions {
            key: Some(&recovered.key),
            account_names: account_names.to_vec(),
            ..Default::default()
        };
        self.register(new, register).await
    }
}
