//! Nothing lives here: the attacks are this package's tests, so that what they need of a vault's insides never reaches a program.
#![forbid(unsafe_code)]
