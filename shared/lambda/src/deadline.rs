use std::time::{Duration, SystemTime};

use lambda_http::Context;

/// No invocation ends in here: that is a length of time.
const FIRST_DAY: u64 = 24 * 60 * 60 * 1000;

/// When an invocation is ended; none where nobody says. Whoever invokes a function other than through
/// Lambda may send 0, and `cargo lambda watch` sends a length of time, 600000, where Lambda sends a
/// time in milliseconds since 1970.
#[must_use]
pub fn deadline(context: &Context) -> Option<SystemTime> {
    let millis = Some(context.deadline).filter(|millis| *millis > FIRST_DAY)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_and_neither_nothing_nor_a_length_of_time() {
        let of = |millis| {
            let mut context = Context::default();
            context.deadline = millis;
            deadline(&context)
        };
        assert_eq!([of(0), of(600_000)], [None, None]);
        assert_eq!(of(1_795_183_485_470), Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_183_485_470)));
    }
}
