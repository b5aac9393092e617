//! `POST /{resource}/bulk`: up to 100 creates and updates in one request.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use ledgerline_app::{Accepted, CommandError, CommandRequest, FailedEntry};
use ledgerline_kernel::input::{BatchEntry, InputError, Problem as FieldProblem, read_body};
use ledgerline_kernel::{Action, Entity};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::body::{self, Accepts};
use crate::commands::{Endpoint, Sent};
use crate::problem::{ApiError, Problem};
use crate::respond::{Answered, EntityView, Extra, success};

/// The most entries of a batch.
const LIMIT: usize = 100;

/// What becomes of an entry.
#[derive(Debug, Serialize)]
struct EntryResult<'a> {
    index: usize,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<EntityView<'a>>,
    /// Whether the entry changed anything, where the answer to a single command says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Extra>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

impl Endpoint {
    /// Executes a batch, each entry by itself or, with `atomic=true`, all of them or none.
    pub(crate) async fn execute_bulk(&self, mut sent: Sent, request: Request) -> Result<Response, ApiError> {
        let atomic = sent.parameters.flag("atomic");
        sent.parameters.checked(body::no_if_match(request.headers()));
        sent.parameters.checked(body::if_none_match(request.headers(), false));
        let longest = body::LONGEST_IDEMPOTENCY_KEY - "#99".len();
        if !atomic && sent.idempotency_key.as_ref().is_some_and(|key| key.len() > longest) {
            sent.parameters.report("Idempotency-Key", format!("must be {longest} characters at most for a batch"));
        }
        std::mem::take(&mut sent.parameters).finish()?;
        let body = body::read(request, Accepts::Json, body::limit_of(self.domain.as_ref())).await?;
        let entries: Vec<_> = entries(&body)?.into_iter().map(BatchEntry::read).collect();
        let creates: Vec<bool> =
            entries.iter().map(|entry| entry.as_ref().is_ok_and(|entry| entry.sk.is_none())).collect();
        let outcomes = if atomic {
            self.together(&sent, entries).await?.into_iter().map(Ok).collect()
        } else {
            self.each(&sent, entries, &body).await?
        };
        let accepted: Vec<&Accepted> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        let seen = |accepted: &Accepted| (Entity::from(&accepted.item), accepted.changed);
        let entities: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(seen)).collect();
        let results = entities.iter().zip(creates).enumerate().map(|(index, (entity, creates))| match entity {
            Ok((entity, changed)) => {
                let status = if creates { StatusCode::CREATED } else { StatusCode::OK };
                let (data, meta) = (EntityView::of(entity), Extra { changed: Some(*changed), ..Extra::default() });
                EntryResult { index, status: status.as_u16(), data: Some(data), meta: Some(meta), error: None }
            }
            Err(error) => failed(index, error, &sent.incoming.id),
        });
        let results: Vec<_> = results.collect();
        // As the answer to a single command, so that a replay of what was accepted is the same to the byte.
        let newest = accepted.iter().map(|accepted| &accepted.item).max_by_key(|item| item.updated.at);
        let answered = newest.map_or_else(|| Answered::from(&sent.incoming), Answered::from);
        let extra = Extra { count: Some(results.len()), ..Extra::default() };
        let mut response = success(StatusCode::OK, answered, &results, extra, None)?;
        self.finish(&mut response, sent.wait, &accepted).await;
        Ok(response)
    }

    async fn together(
        &self,
        sent: &Sent,
        entries: Vec<Result<BatchEntry<'_>, InputError>>,
    ) -> Result<Vec<Accepted>, FailedEntry> {
        let mut read = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            read.push(entry.map_err(|error| FailedEntry { index, error: error.into() })?);
        }
        let requests: Vec<_> =
            read.iter().map(|entry| self.request(sent, entry, sent.idempotency_key.clone())).collect();
        Box::pin(self.commands.execute_together(&requests)).await
    }

    /// Each entry has an idempotency key of its own, made of the batch's and its place. One that was
    /// refused is executed again when the batch is repeated, as a single command would be.
    async fn each(
        &self,
        sent: &Sent,
        entries: Vec<Result<BatchEntry<'_>, InputError>>,
        body: &str,
    ) -> Result<Vec<Result<Accepted, CommandError>>, ApiError> {
        let key = sent.idempotency_key.as_deref();
        if let Some(key) = key {
            let payload = format!("{} {body}", self.domain.resource());
            self.commands.reserve(&sent.caller.tenant, key, &payload).await?;
        }
        let requests = entries.iter().enumerate().filter_map(|(index, entry)| {
            Some(self.request(sent, entry.as_ref().ok()?, key.map(|key| format!("{key}#{index}"))))
        });
        let requests: Vec<_> = requests.collect();
        let mut executed = Box::pin(self.commands.execute_each(&requests)).await.into_iter();
        let outcomes = entries.into_iter().filter_map(|entry| match entry {
            Ok(_) => executed.next(),
            Err(error) => Some(Err(error.into())),
        });
        Ok(outcomes.collect())
    }

    fn request<'a>(
        &'a self,
        sent: &Sent,
        entry: &'a BatchEntry<'_>,
        idempotency_key: Option<String>,
    ) -> CommandRequest<'a> {
        CommandRequest {
            domain: self.domain.as_ref(),
            action: if entry.sk.is_some() { Action::Update } else { Action::Create },
            sk: entry.sk.clone(),
            if_match: None,
            idempotency_key,
            body: &entry.body,
            caller: sent.caller.clone(),
            origin: sent.origin(),
        }
    }
}

/// The raw texts of a batch's entries, in order.
fn entries(body: &str) -> Result<Vec<&RawValue>, CommandError> {
    let entries: Vec<&RawValue> = read_body(body, "a JSON array")?;
    if (1..=LIMIT).contains(&entries.len()) {
        return Ok(entries);
    }
    let message = format!("must be 1 to {LIMIT} entries, not {}", entries.len());
    Err(InputError::Invalid(vec![FieldProblem { path: String::new(), code: "OUT_OF_RANGE", message }]).into())
}

fn failed(index: usize, error: &CommandError, request_id: &str) -> EntryResult<'static> {
    let problem = Problem::from(error);
    problem.log(request_id);
    let body = String::from_utf8(problem.body(request_id)).ok();
    let error = body.and_then(|text| RawValue::from_string(text).ok());
    EntryResult { index, status: problem.status.as_u16(), data: None, meta: None, error }
}
