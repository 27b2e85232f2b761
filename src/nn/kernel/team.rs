//! Threads that stay at hand while a text is written token by token.
//!
//! One token is some two hundred products of one row, each a few microseconds long: less than it takes to wake a thread of
//! the pool. Inside [`together`] the pool's threads look for the next product in a short loop instead. Work is cut into
//! parts that whoever is free takes, the caller included, so that a helper which is late, busy elsewhere or was never
//! started costs speed and nothing else.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::parallel::{may_split, sequential};

/// Products of one row wait for memory; more threads than this only wait together.
const MOST_HELPERS: usize = 7;

/// Looks for work that a helper takes in a row before it lets others run, and before it sleeps a little: some tens of
/// microseconds, and a millisecond.
const LOOKS_BEFORE_YIELDING: u32 = 4_000;
const LOOKS_BEFORE_SLEEPING: u32 = 6_000;

thread_local! {
    static TEAM: RefCell<Option<Arc<Team>>> = const { RefCell::new(None) };
}

/// Runs `f` with helpers at hand for [`share`]. All other kernels in `f` stay on this thread.
pub fn together<R>(f: impl FnOnce() -> R) -> R {
    let helpers = if may_split() { (rayon::current_num_threads() - 1).min(MOST_HELPERS) } else { 0 };
    if helpers == 0 || TEAM.with_borrow(Option::is_some) {
        return f();
    }
    /// Sends the helpers home even when `f` panics.
    struct Gathered(Arc<Team>);
    impl Drop for Gathered {
        fn drop(&mut self) {
            TEAM.set(None);
            self.0.over.store(true, Ordering::Release);
        }
    }
    let team = Arc::new(Team { members: helpers + 1, ..Team::default() });
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            let team = Arc::clone(&team);
            scope.spawn(move |_| team.help());
        }
        TEAM.set(Some(Arc::clone(&team)));
        let _gathered = Gathered(team);
        sequential(f)
    })
}

/// Calls `f` once with each number below `parts`, on the team's threads, or on this one where there is no team.
pub fn share(parts: usize, f: impl Fn(usize) + Sync) {
    let team = if parts > 1 { TEAM.with_borrow(Clone::clone) } else { None };
    match team {
        Some(team) if parts <= MOST_PARTS => team.lead(parts, &f),
        _ => (0..parts).for_each(f),
    }
}

/// Who may take part in [`share`], the caller included.
pub fn members() -> usize {
    TEAM.with_borrow(|team| team.as_ref().map_or(1, |team| team.members))
}

/// Parts fit 16 bits of [`Team::state`].
const MOST_PARTS: usize = u16::MAX as usize;

type Job<'a> = &'a (dyn Fn(usize) + Sync);

#[derive(Default)]
struct Team {
    /// The number of the job in the high 32 bits, its parts in 16, and in the low 16 the next part that nobody has taken. In
    /// one word, so that a part is only ever taken of the job it belongs to.
    state: AtomicU64,
    /// Where the job of that number lies; valid as long as a part of it is unfinished.
    job: AtomicPtr<Job<'static>>,
    finished: AtomicUsize,
    failed: AtomicBool,
    over: AtomicBool,
    members: usize,
}

impl Team {
    fn lead(&self, parts: usize, f: Job) {
        /// Nobody may still use the job when the caller's frame ends, however it ends.
        struct Finished<'a>(&'a Team, usize);
        impl Drop for Finished<'_> {
            fn drop(&mut self) {
                let mut looks = 0;
                while self.0.finished.load(Ordering::Acquire) < self.1 {
                    looks = wait(looks);
                }
            }
        }
        self.finished.store(0, Ordering::Relaxed);
        let mut job: Job = f;
        self.job.store((&raw mut job).cast(), Ordering::Relaxed);
        let number = (self.state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.state.store(number << 32 | (parts as u64) << 16, Ordering::Release);
        {
            let _finished = Finished(self, parts);
            while self.take_part() {}
        }
        assert!(!self.failed.load(Ordering::Relaxed), "a thread of the team panicked");
    }

    fn help(&self) {
        let mut looks = 0;
        while !self.over.load(Ordering::Acquire) {
            looks = if self.take_part() { 0 } else { wait(looks) };
        }
    }

    /// Takes the next part of the current job, if one is left, and does it.
    fn take_part(&self) -> bool {
        /// Counts a part as done even if it panicked: the leader must not wait for ever, and is told.
        struct Part<'a>(&'a Team);
        impl Drop for Part<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.failed.store(true, Ordering::Relaxed);
                }
                self.0.finished.fetch_add(1, Ordering::Release);
            }
        }
        let state = self.state.load(Ordering::Acquire);
        let (parts, part) = (state >> 16 & 0xffff, state & 0xffff);
        if part >= parts {
            return false;
        }
        if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return true; // somebody else was quicker; there may be more
        }
        let _part = Part(self);
        // SAFETY: this part is unfinished, so the leader is still inside `lead`, where the job lies.
        let job: Job = unsafe { *self.job.load(Ordering::Relaxed) };
        job(part as usize);
        true
    }
}

/// Passes a moment, longer ones after many; returns how many have passed.
fn wait(looks: u32) -> u32 {
    match looks {
        0..LOOKS_BEFORE_YIELDING => std::hint::spin_loop(),
        LOOKS_BEFORE_YIELDING..LOOKS_BEFORE_SLEEPING => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(100)),
    }
    looks.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(parts: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
        share(parts, |part| {
            counts[part].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_part_is_done_once_with_a_team_and_without() {
        assert_eq!(visits(5), [1; 5]);
        together(|| {
            for round in 0..2_000 {
                let parts = round % 17;
                assert_eq!(visits(parts), vec![1; parts]);
            }
        });
        assert_eq!(members(), 1);
    }

    #[test]
    fn two_teams_at_a_time_both_finish() {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    together(|| {
                        for _ in 0..200 {
                            assert_eq!(visits(9), [1; 9]);
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_home() {
        let caught = std::panic::catch_unwind(|| {
            together(|| share(4, |part| assert!(part != 2, "on purpose")));
        });
        assert!(caught.is_err());
        assert_eq!(members(), 1);
        assert_eq!(together(|| visits(3)), [1; 3]);
    }
}
