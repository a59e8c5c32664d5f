//! Why a vault can't start or go on.

/// Why a vault can't start or go on. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The root can't be used.
    #[error(transparent)]
    Root(#[from] crate::root::RootError),
    /// The token failed.
    #[error("token: {0}")]
    Token(#[from] bkv_hsm::TokenError),
    /// The anchor of the last orderly stop can't be taken from the token. If the vault ran although it may still be there, an older copy of the store could pass for the
    /// newest one later.
    #[error(
        "the anchor in the token can't be read and destroyed: {0}. Start the vault again once the token answers"
    )]
    Anchor(#[from] crate::anchor::AnchorError),
    /// The token refused the PIN file at an earlier start.
    #[error(
        "token: the PIN in {} was refused at an earlier start, and the file has not changed. Correct the PIN, or touch the file if the token was repaired. The vault does not offer the same PIN again, because tokens lock after a few wrong PINs", .0.display()
    )]
    PinStillRefused(std::path::PathBuf),
    /// The replicas can't start.
    #[error(transparent)]
    Node(#[from] crate::replica::NodeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The role certificate can't be loaded.
    #[error("tls: {0}")]
    Tls(#[from] bkv_mtls::Error),
    /// The role certificate names another role.
    #[error(
        "tls.cert {path}: the certificate is of {found}, but this vault is {needed}: issue it with the URI SAN bkv://role/vault/<region>"
    )]
    Role {
        /// Path of the certificate.
        path: String,
        /// The role that it names.
        found: String,
        /// The role that is needed.
        needed: String,
    },
    /// An address can't be bound.
    #[error("listen.{which} {address}: {source}")]
    Listen {
        /// The setting under `listen`.
        which: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The stored documents can't be put in force.
    #[error("documents: {0}")]
    Documents(#[from] crate::service::DocumentsError),
    /// The vault ran and can't go on.
    #[error(
        "the vault can't go on: {0}. Repair the cause and start it again. Everything that it acknowledged is on the disk"
    )]
    Fatal(String),
    /// The metrics can't be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The region's name is not valid in a role name.
    #[error("region")]
    RegionRole(#[from] bkv_mtls::role::RoleError),
    /// The region's name is not valid on the token.
    #[error("region")]
    RegionToken(#[from] bkv_hsm::BadVaultName),
    /// The delivery key can't be made.
    #[error("delivery key")]
    Delivery(#[from] bkv_crypto::delivery::DeliveryError),
    /// The stored delivery key has the wrong length.
    #[error("delivery key: the stored key does not have 32 bytes")]
    DeliveryLength,
    /// The inner channel can't be set up.
    #[error("inner channel")]
    Channel(#[from] bkv_wire::channel::ChannelError),
    /// The thread that opens the token has ended.
    #[error("token: the thread that opens it has ended")]
    Thread(#[from] tokio::task::JoinError),
    /// Signal handlers can't be installed.
    #[error("signals")]
    Signals(#[source] std::io::Error),
}
