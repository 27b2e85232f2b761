//! What is typed while something else works, kept when Ctrl-C stops that.
//!
//! A terminal throws away what nobody has read yet when Ctrl-C is pressed, unless it is told not to. It is told so while
//! a conversation works, and no longer: what other programs expect of a terminal is theirs.

/// Keeps what is typed ahead until dropped. Does nothing where stdin is no terminal, or has no such setting.
pub struct TypedAhead {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl TypedAhead {
    #[cfg(unix)]
    pub fn keep() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok().filter(|before| {
            let mut keeping = before.clone();
            keeping.local_modes |= LocalModes::NOFLSH;
            // A terminal that cannot be told is used as it is.
            tcsetattr(&stdin, OptionalActions::Now, &keeping).is_ok()
        });
        Self { before }
    }

    #[cfg(not(unix))]
    pub fn keep() -> Self {
        Self {}
    }
}

#[cfg(unix)]
impl Drop for TypedAhead {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
