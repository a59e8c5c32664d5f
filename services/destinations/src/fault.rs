//! A server's answer as a fault whose text names the place and the remedy.

use bkv_backups::destination::Fault;
use opendal_core::ErrorKind;

use crate::answer::{Answer, Broken};

/// S3 refuses requests whose time is off by more.
const MOST_SKEW: i64 = 15 * 60;

/// The fault of an operation at `place` that ended with this error.
pub(crate) fn fault(place: &str, is_s3: bool, error: &opendal_core::Error, answer: &Answer) -> Fault {
    match (answer.broken, answer.status) {
        (Some(Broken::Tls), _) => Fault::Other(format!(
            "{place} does not prove who it is ({}); check the address, or name the authority of its certificate with --authority",
            answer.text
        )),
        (Some(Broken::TooLarge), _) => Fault::Other(format!(
            "{place} answers with more than any object or list has; check that it is the right server"
        )),
        (Some(Broken::Foreign), _) => Fault::Other(format!(
            "{place} does not list what was asked for ({}); check the address, and whether a proxy changes paths",
            answer.text
        )),
        (Some(Broken::Network), _) => Fault::Unavailable(format!("{place}: {}", answer.text)),
        // OpenDAL found something wrong in an answer that was a success.
        (None, 0..300) => unread(place, error),
        (None, _) => refused(place, is_s3, answer),
    }
}

fn unread(place: &str, error: &opendal_core::Error) -> Fault {
    let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(300).collect();
    match error.kind() {
        ErrorKind::NotFound => Fault::NotFound,
        ErrorKind::ConditionNotMatch => Fault::Exists,
        _ if error.is_temporary() => Fault::Unavailable(format!("{place}: {text}")),
        _ => Fault::Other(format!(
            "{place} gave an answer that can't be read ({text}); check that the address is that of an S3 or WebDAV server"
        )),
    }
}

fn refused(place: &str, is_s3: bool, answer: &Answer) -> Fault {
    let Answer { status, code, text, ahead, region, .. } = answer;
    let said = match (code.as_str(), text.as_str()) {
        ("", "") => status.to_string(),
        ("", text) => format!("{status}, {text}"),
        (code, _) => code.to_owned(),
    };
    let denied = |what: &str| Fault::Denied(format!("{place} {what}: {said}"));
    match (code.as_str(), status) {
        ("ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException", _) => {
            denied("says that the credentials have expired, so it needs new ones")
        }
        ("RequestTimeTooSkewed" | "RequestExpired", _) => skew(place, *ahead),
        // Only S3's signatures have a time.
        ("", 400 | 401 | 403) if is_s3 && ahead.is_some_and(|ahead| ahead.abs() > MOST_SKEW) => {
            skew(place, *ahead)
        }
        ("NoSuchBucket", _) => Fault::Other(format!(
            "there is no such bucket: {place}; make it, or check its name, --endpoint and --region"
        )),
        (
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException",
            _,
        ) => {
            let is_in = region.as_ref().map(|region| format!(" (it is in {region})")).unwrap_or_default();
            Fault::Other(format!("{place} is in another region{is_in}; name it with --region"))
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidSecurity", _)
        | (_, 401) => denied("does not accept the credentials"),
        ("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "StorageFull", _)
        | (_, 507) => Fault::Full,
        ("SlowDown" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict", _)
        | (_, 408 | 423 | 425 | 429 | 499 | 500 | 502..=504 | 520..) => {
            Fault::Unavailable(format!("{place}: {said}"))
        }
        // To go there would send credentials to a place that the person did not name.
        (_, 300..=399) => Fault::Other(format!(
            "{place} sends requests on to another address ({text}); use that one if it is the right one"
        )),
        (_, 403) => denied("does not allow it with these credentials"),
        (_, 404 | 410) => Fault::NotFound,
        (_, 412) => Fault::Exists,
        _ => Fault::Other(format!(
            "{place} answers {said}; check that the address is that of an S3 or WebDAV server, and ask whoever runs it"
        )),
    }
}

fn skew(place: &str, ahead: Option<i64>) -> Fault {
    let by = match ahead {
        Some(seconds) if seconds > 0 => format!(" {} minutes behind that of {place}", seconds / 60),
        Some(seconds) => format!(" {} minutes ahead of that of {place}", -seconds / 60),
        None => format!(" not that of {place}"),
    };
    Fault::Other(format!("the clock of this device is{by}; set the clock, then run the command again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &Answer) -> Fault {
        fault("s3://b", true, &opendal_core::Error::new(ErrorKind::Unexpected, "x"), answer)
    }

    fn s3(status: u16, code: &str) -> Fault {
        of(&Answer { status, code: code.into(), ..Answer::default() })
    }

    /// Codes of Amazon's list of error responses that no server here gives.
    #[test]
    fn each_answer_names_its_remedy() {
        for (fault, words) in [
            (s3(400, "ExpiredToken"), "the credentials have expired"),
            (s3(403, "RequestTimeTooSkewed"), "set the clock"),
            (s3(403, "SignatureDoesNotMatch"), "does not accept the credentials"),
            (s3(401, ""), "does not accept the credentials"),
            (s3(403, "AccessDenied"), "does not allow it"),
            (s3(404, "NoSuchBucket"), "--endpoint and --region"),
            (s3(301, "PermanentRedirect"), "name it with --region"),
            (s3(418, ""), "ask whoever runs it"),
            (of(&Answer::broken(Broken::Tls, "expired")), "--authority"),
            (of(&Answer::broken(Broken::TooLarge, "")), "the right server"),
            (of(&Answer { status: 403, ahead: Some(-3600), ..Answer::default() }), "60 minutes ahead"),
            (of(&Answer { status: 403, ahead: Some(60), ..Answer::default() }), "does not allow it"),
        ] {
            let text = fault.to_string();
            assert!(text.contains(words) && text.contains("s3://b"), "{text}");
        }
        for (answer, want) in [
            (s3(404, "NoSuchKey"), Fault::NotFound),
            (s3(412, "PreconditionFailed"), Fault::Exists),
            (s3(507, ""), Fault::Full),
            (s3(403, "QuotaExceeded"), Fault::Full),
        ] {
            assert_eq!(answer, want);
        }
        for (status, code) in [(503, "SlowDown"), (500, ""), (429, ""), (409, "ConditionalRequestConflict")] {
            assert!(matches!(s3(status, code), Fault::Unavailable(_)), "{status}");
        }
    }
}
