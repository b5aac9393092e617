//! One entry of a unit: a command, read and addressed.

use ledgerline_kernel::{
    Action, CanonicalError, Decision, DecisionContext, Draft, EntityKey, Prepared, SortKey, Stamp, Timestamp,
    Undecided, Version, VersionItem,
};

use super::{CommandError, CommandRequest, IfMatch, VersionSource};
use crate::Environment;

/// A command on its way: read and addressed once, decided as often as it takes.
pub(super) struct Part<'a> {
    pub(super) request: &'a CommandRequest<'a>,
    prepared: Prepared,
    /// The addressed entity, then those that the command involves.
    pub(super) keys: Vec<EntityKey>,
    pub(super) expected: Option<(Version, VersionSource)>,
}

impl<'a> Part<'a> {
    pub(super) fn take_in(
        request: &'a CommandRequest<'a>,
        environment: &dyn Environment,
    ) -> Result<Self, CommandError> {
        let prepared = request.domain.prepare(request.action, request.body)?;
        let key = |sk: SortKey| EntityKey::new(request.domain.entity_type().clone(), request.caller.tenant.clone(), sk);
        let (sk, expected) = match (&request.sk, &prepared.sk) {
            (Some(sk), _) => (sk.clone(), expected_version(request.if_match, prepared.version)?),
            (None, _) if request.if_match.is_some() => return Err(CommandError::NothingToMatch),
            (None, Some(sk)) => (sk.clone(), None),
            // A ULID is 26 letters and digits: always a valid sort key.
            (None, None) => (environment.new_id().parse().map_err(CommandError::VersionsExhausted)?, None),
        };
        let involved = prepared.command.involves();
        if let Some((field, _)) = involved.iter().find(|(_, other)| *other == sk) {
            return Err(CommandError::NamesItself(field));
        }
        let keys = std::iter::once(sk).chain(involved.into_iter().map(|(_, other)| other)).map(key).collect();
        Ok(Self { request, prepared, keys, expected })
    }

    /// The field by which the request names one of its entities.
    pub(super) fn field_of(&self, key: &EntityKey) -> &'static str {
        let mut others = self.prepared.command.involves().into_iter();
        others.find(|(_, other)| *other == key.sk).map_or("sk", |(field, _)| field)
    }

    /// Whether it makes a new entity, and so needs none loaded.
    pub(super) fn creates(&self) -> bool {
        self.request.action == Action::Create
    }

    pub(super) fn decide(
        &self,
        newest: &[Option<VersionItem>],
        now: Timestamp,
    ) -> Result<Vec<Option<Decision>>, Undecided> {
        let caller = &self.request.caller;
        let context = DecisionContext { now, tenant: caller.tenant.clone(), user: caller.user.clone() };
        self.prepared.command.decide(newest, &context)
    }

    /// The next version of an entity.
    pub(super) fn chain(
        &self,
        key: &EntityKey,
        version: Version,
        previous: Option<&VersionItem>,
        decision: Decision,
        command_id: &str,
        now: Timestamp,
    ) -> Result<VersionItem, CanonicalError> {
        let (caller, origin) = (&self.request.caller, &self.request.origin);
        let draft = Draft {
            code: decision.code,
            name: decision.name,
            is_deleted: decision.is_deleted,
            events: decision.events,
            state: decision.state,
            command_id: command_id.to_owned(),
            request_id: origin.request_id.clone(),
            source: origin.source.clone(),
            traceparent: origin.traceparent.clone(),
            stamp: Stamp { at: now, by: caller.user.clone(), ip: caller.ip.clone() },
        };
        VersionItem::chain(key.clone(), version, previous, draft)
    }
}

fn expected_version(
    header: Option<IfMatch>,
    body: Option<Version>,
) -> Result<Option<(Version, VersionSource)>, CommandError> {
    match (header, body) {
        (None, None) => Err(CommandError::PreconditionRequired),
        (Some(IfMatch::Version(header)), Some(body)) if header != body => Err(CommandError::ContradictoryVersions),
        (Some(IfMatch::Version(header)), _) => Ok(Some((header, VersionSource::Header))),
        (_, Some(body)) => Ok(Some((body, VersionSource::Body))),
        (Some(IfMatch::Any), None) => Ok(None),
    }
}
