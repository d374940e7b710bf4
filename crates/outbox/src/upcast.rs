//! Upcasting: an event of an older version is read as the newest that a program knows.
//!
//! The log keeps what was written. An upcaster is a pure function from the shape of one version to
//! the next; it asks nobody and never changes, because the log holds old versions for ever.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::consumer::Failure;
use crate::event::Event;

/// Makes the payload of one version into that of the next.
pub type Upcaster = fn(Value) -> Value;

impl Event {
    /// The facts in the shape of the newest known version. The first upcaster makes version 2 of
    /// version 1, and so on; so their number says what is known.
    ///
    /// # Errors
    /// [`Failure::Newer`] for a version above, which waits for the deploy; [`Failure::Retry`] for
    /// facts that do not have the shape of their version.
    pub fn facts<T: DeserializeOwned>(&self, upcasters: &[Upcaster]) -> Result<T, Failure> {
        let written = usize::try_from(self.schema_version).unwrap_or_default();
        let known = i16::try_from(upcasters.len() + 1).unwrap_or(i16::MAX);
        self.expect_version(known)?;
        let facts = match upcasters.get(written.saturating_sub(1)..) {
            None | Some([]) => self.payload.read(),
            Some(steps) => {
                let newest = steps
                    .iter()
                    .fold(self.payload.to_value(), |old, step| step(old));
                serde_json::from_value(newest)
            }
        };
        facts.map_err(|error| {
            Failure::retry(format!(
                "the payload of {} {} cannot be read: {error}",
                self.topic, self.event_id
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::event::Recorded;

    /// One name, then two, then a list.
    const UPCASTERS: &[Upcaster] = &[
        |old| json!({ "first": old["name"], "last": "" }),
        |old| json!({ "names": [old["first"], old["last"]] }),
    ];

    #[derive(serde::Deserialize)]
    struct Names {
        names: Vec<String>,
    }

    fn names(version: i16, payload: Value) -> Result<Vec<String>, Failure> {
        let event: Event = Recorded::unlogged("guest.named", version, Uuid::nil(), payload).into();
        event.facts::<Names>(UPCASTERS).map(|facts| facts.names)
    }

    #[test]
    fn each_version_is_read_as_the_newest() {
        assert_eq!(names(1, json!({ "name": "Anna" })).unwrap(), ["Anna", ""]);
        let second = json!({ "first": "Anna", "last": "Blue" });
        assert_eq!(names(2, second).unwrap(), ["Anna", "Blue"]);
        assert_eq!(names(3, json!({ "names": ["Anna"] })).unwrap(), ["Anna"]);
    }

    #[test]
    fn a_version_above_the_newest_waits_for_the_deploy() {
        let failure = names(4, json!({ "names": [] })).unwrap_err();
        assert!(matches!(failure, Failure::Newer(_)));
    }

    #[test]
    fn facts_of_another_shape_say_what_is_wrong() {
        let failure = names(1, json!({ "name": 7 })).unwrap_err();
        assert!(failure.to_string().contains("guest.named"), "{failure}");
    }
}
