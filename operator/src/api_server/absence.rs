//! Kinds of other projects that can't be listed.

use kube::runtime::watcher;

/// Why a kind is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// The cluster does not know it.
    Unknown,
    /// We may not list it.
    Forbidden,
}

impl Absence {
    /// Why a list or watch failed, if the kind itself is the reason.
    pub(crate) fn of(error: &watcher::Error) -> Option<Self> {
        use watcher::Error as E;
        let (E::InitialListFailed(e) | E::WatchStartFailed(e) | E::WatchFailed(e)) = error else {
            return None;
        };
        match e {
            kube::Error::Api(answer) if answer.code == 404 => Some(Self::Unknown),
            kube::Error::Api(answer) if answer.code == 403 => Some(Self::Forbidden),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_about_the_kind_counts() {
        let answer = |code| {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            kube::Error::Api(Box::new(status))
        };
        let listed = |code| Absence::of(&watcher::Error::InitialListFailed(answer(code)));
        assert_eq!(listed(404), Some(Absence::Unknown));
        assert_eq!(listed(403), Some(Absence::Forbidden));
        // The server or a conversion webhook is broken. The kind may exist.
        assert_eq!(listed(500), None);
        assert_eq!(Absence::of(&watcher::Error::WatchStartFailed(answer(404))), Some(Absence::Unknown));
        assert_eq!(Absence::of(&watcher::Error::NoResourceVersion), None);
    }
}
