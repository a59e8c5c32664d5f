//! Paths of the port. `GET` reads, `POST` changes.

/// `GET`: [`VaultStatus`](crate::VaultStatus).
pub const STATUS: &str = "/v1/status";
/// `GET`: [`VaultToken`](crate::VaultToken).
pub const TOKEN: &str = "/v1/token";
/// `GET`: [`PublicRoot`](crate::PublicRoot).
pub const ROOT: &str = "/v1/root";
/// `POST` of an unsigned document with `?kind=admission` or `?kind=policy`: [`Signed`](crate::Signed).
pub const ROOT_SIGN: &str = "/v1/root/sign";
/// `GET`: [`SealedRoots`](crate::SealedRoots). `POST` of a [`HandOver`](crate::HandOver): [`RootHeld`](crate::RootHeld).
pub const ROOT_SEALED: &str = "/v1/root/sealed";
/// `GET`: [`Signed`](crate::Signed). `POST` of a signed admission list: [`Installed`](crate::Installed).
pub const ADMISSION: &str = "/v1/admission";
/// `GET`: [`Signed`](crate::Signed). `POST` of a signed policy: [`Installed`](crate::Installed).
pub const POLICY: &str = "/v1/policy";
/// `POST` of a lift that the root has signed: [`Lifted`](crate::Lifted).
pub const LIFT: &str = "/v1/lift";
/// `POST`: [`FleetMade`](crate::FleetMade).
pub const INIT: &str = "/v1/init";
/// `POST`: [`SteppingDown`](crate::SteppingDown).
pub const STEP_DOWN: &str = "/v1/step-down";
