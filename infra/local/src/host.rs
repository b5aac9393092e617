//! The local host: what `template.yaml` deploys, on one machine.

mod functions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{Request, Response};
use ledgerline_lambda::Config;
use ledgerline_stores::{PostgresKind, Queues};
use ledgerline_views_postgres::PostgresViews;
use sqlx::PgPool;
use url::Url;

use crate::banner::TENANT;
use crate::data_dir::{DataDir, HostRecord, Use};
use crate::dead_letters::dead_letter_queues;
use crate::event_source::Invoke;
use crate::gateway::{Door, Gateway};
use crate::issuer::{AUDIENCE, Claims, ISSUER, IssuerKey, KeySet};
use crate::mappings::{Mappings, MappingsReader};
use crate::messaging;
use crate::operate::{self, Place, Site};
use crate::seed::{self, Seeded};
use crate::stack::{WatchServer, env_file};
use crate::stores::Stores;
use crate::template::{Function, Scope, Template};
use crate::unfinished;

use functions::build_functions;

/// How long the printed token is good for.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Connections for operators, where the functions' own are in other processes.
const OPERATOR_CONNECTIONS: u32 = 2;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The gateway's port on 127.0.0.1; 0 picks one.
    pub port: u16,
    /// Where state is kept. With `ephemeral`, only the issuer's key is read there.
    pub data_dir: PathBuf,
    /// Keeps nothing.
    pub ephemeral: bool,
    /// The template, if not the usual one.
    pub template: Option<PathBuf>,
    /// A Postgres that runs already.
    pub database_url: Option<String>,
    /// Where the functions are.
    pub serving: Serving,
}

impl HostOptions {
    /// A host for as long as a command needs one, at any free port.
    #[must_use]
    pub fn for_a_command(place: &Place) -> Self {
        Self {
            port: 0,
            data_dir: place.data_dir.clone(),
            ephemeral: false,
            template: place.template.clone(),
            database_url: place.database_url.clone(),
            serving: Serving::InProcess,
        }
    }
}

/// Where the functions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// In this process, behind the gateway.
    InProcess,
    /// Served by `cargo lambda watch` at this address, behind no gateway.
    Watch(Url),
}

/// A running host.
pub struct Host {
    options: HostOptions,
    dir: DataDir,
    gateway: Gateway,
    mappings: Mappings,
    stores: Stores,
    token: String,
    env_file: Option<PathBuf>,
    fixture_keys: Option<PathBuf>,
}

impl Host {
    /// Starts everything, in an order in which nothing needs what is not there yet; it is all up
    /// when this returns.
    ///
    /// # Errors
    /// If anything cannot be started. What was started is stopped again.
    pub async fn start(options: HostOptions) -> anyhow::Result<Self> {
        let template = Template::load(options.template.as_deref())?;
        let dir = match options.ephemeral {
            true => DataDir::ephemeral()?,
            false => DataDir::take(&options.data_dir, Use::Host)?,
        };
        say_what_is_missing(&template);
        let door = Door::bind(options.port).await?;
        let key = match options.ephemeral {
            true => IssuerKey::generate()?,
            false => IssuerKey::of_data_dir(dir.path())?,
        };
        let claims = Claims {
            tenant: TENANT.to_owned(),
            role: "admin".to_owned(),
            user: "local-user".to_owned(),
            expires_in: TOKEN_LIFE,
        };
        let token = key.token(&claims)?;
        let keys = KeySet::new(&key).with_data_dir(options.data_dir.clone());
        let (keys, routes) = match &options.serving {
            Serving::InProcess => (keys, template.routes.clone()),
            Serving::Watch(_) => (keys.with_fixtures(), Vec::new()),
        };
        let fixture_keys = keys.fixtures().map(Path::to_owned);
        let gateway = Gateway::start(door, routes, keys);

        let stores = Stores::start(&dir, options.database_url.clone(), &template).await?;
        let settings = Settings::new(&template, &gateway.url(), &dir, &stores)?;
        let config = Config::new(lookup(settings.all()?));
        stores.ensure_read_models(&config).await?;
        let mut env_path = None;
        let functions: Arc<dyn Invoke> = match &options.serving {
            Serving::InProcess => Arc::new(build_functions(&settings, &stores).await?),
            Serving::Watch(url) => {
                env_path = Some(dir.write("lambda.env", env_file(&settings.all()?)?.as_bytes())?);
                stores.leave_postgres_to_others().await?;
                Arc::new(WatchServer::new(url.clone()))
            }
        };
        // Before anybody works on them: what is read again must not meet those who go on from where they were.
        match unfinished::go_on(&config, &stores.s3).await {
            Ok(0) => {}
            Ok(count) => tracing::info!("{count} imports go on that were under way when the host stopped"),
            // They can be resumed, and nothing else needs them.
            Err(error) => tracing::warn!("imports that were under way do not go on: {error:#}"),
        }
        let mappings = Mappings::start(&template, &stores, &dir, &functions).await?;
        let views = match &options.serving {
            Serving::InProcess => PostgresViews::new(stores.pool.clone()),
            Serving::Watch(_) => PostgresViews::lazy(stores.postgres.url(), OPERATOR_CONNECTIONS)?,
        };
        let site = Site::new(&config, views, dir.path()).await?.beside(mappings.reader());
        let site = site.with_dead_letters(dead_letter_queues(&template, &stores.messaging).await);
        let operators = operate::router(site, &dir)?;
        gateway.admit_operators(operators.merge(operate::for_operators(mappings.reader().router(), &dir)?));
        gateway.ready(functions);
        let record = HostRecord {
            pid: std::process::id(),
            url: gateway.url(),
            dynamodb: stores.dynamo.endpoint().to_owned(),
            s3: stores.s3.endpoint().to_owned(),
            database: stores.postgres.url().to_owned(),
        };
        dir.record(&record)?;
        Ok(Self { options, dir, gateway, mappings, stores, token, env_file: env_path, fixture_keys })
    }

    /// Loads the demo catalogue if asked to, and waits until it is in the read models.
    ///
    /// # Errors
    /// If a product is refused.
    pub async fn seed_if(&self, asked: bool) -> anyhow::Result<Option<Seeded>> {
        if !asked {
            return Ok(None);
        }
        let begun = std::time::Instant::now();
        let mut seeded = seed::seed(&self.gateway, &self.token).await.context("cannot load the demo catalogue")?;
        self.mappings.caught_up().await?;
        seeded.took = begun.elapsed();
        Ok(Some(seeded))
    }

    /// Waits until every event source mapping has delivered what is on its stream now.
    ///
    /// # Errors
    /// If a mapping has ended.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        self.mappings.caught_up().await
    }

    /// Waits until nothing is left to do: for notifications, queues and streams alike. What fails is waited for
    /// until it is given up.
    ///
    /// # Errors
    /// If a mapping has ended, or a queue cannot be asked.
    pub async fn drained(&self) -> anyhow::Result<()> {
        self.mappings.drained().await
    }

    /// Says what the event source mappings and schedules do, and has schedules run now.
    #[must_use]
    pub fn mappings(&self) -> MappingsReader {
        self.mappings.reader()
    }

    /// Its queues, which are in memory.
    #[must_use]
    pub fn queues(&self) -> Queues {
        self.stores.messaging.queues()
    }

    /// Where SNS and SQS are.
    #[must_use]
    pub fn messaging(&self) -> &str {
        self.stores.messaging.endpoint()
    }

    /// Where S3 is.
    #[must_use]
    pub fn s3(&self) -> &str {
        self.stores.s3.endpoint()
    }

    /// Answers a request that comes from this process the way of one that comes over the network.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.gateway.answer(request).await
    }

    /// Connections to Postgres, as its owner. The embedded one serves no others.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.stores.pool
    }

    /// Stops in the order in which work flows, so that nothing loses what it depends on: gateway,
    /// mappings, Postgres, DynamoDB.
    ///
    /// # Errors
    /// If a part did not stop cleanly; the others were stopped all the same.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.gateway.stop().await;
        self.mappings.stop().await;
        let stopped = self.stores.stop().await;
        self.dir.forget_record();
        stopped
    }

    /// Where the API is, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.gateway.url()
    }

    /// A token for tenant `demo`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Which Postgres is used.
    #[must_use]
    pub fn postgres(&self) -> PostgresKind {
        self.stores.postgres.kind()
    }

    /// The folder of its data, where that is not below the data directory.
    #[must_use]
    pub fn postgres_elsewhere(&self) -> Option<&Path> {
        self.stores.postgres.folder().filter(|folder| !folder.starts_with(self.dir.path()))
    }

    /// Where it is.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.stores.postgres.url()
    }

    /// Where DynamoDB is.
    #[must_use]
    pub fn dynamodb(&self) -> &str {
        self.stores.dynamo.endpoint()
    }

    /// Where state is kept; none if it is not.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        (!self.dir.is_ephemeral()).then(|| self.dir.path())
    }

    /// Where the functions are.
    #[must_use]
    pub fn serving(&self) -> &Serving {
        &self.options.serving
    }

    /// What `cargo lambda watch --env-file` takes.
    #[must_use]
    pub fn env_file(&self) -> Option<PathBuf> {
        self.env_file.clone()
    }

    /// The file with the keys of the tokens in `events/`, if they are accepted.
    #[must_use]
    pub fn fixture_keys(&self) -> Option<String> {
        self.fixture_keys.as_ref().map(|path| path.display().to_string())
    }
}

fn say_what_is_missing(template: &Template) {
    if !template.not_local.is_empty() {
        tracing::info!("not run here, though {} has them: {}", template.origin, template.not_local.join(", "));
    }
    if !template.queues.is_empty() {
        tracing::info!("queues and topics are kept in memory: what is in a queue is gone after a restart");
    }
}

/// What the functions find in their environment.
struct Settings<'a> {
    template: &'a Template,
    scope: Scope,
    local: BTreeMap<String, String>,
}

impl<'a> Settings<'a> {
    fn new(template: &'a Template, url: &str, dir: &DataDir, stores: &Stores) -> anyhow::Result<Self> {
        let parameters = [
            ("JwtIssuer", ISSUER.to_owned()),
            ("JwtAudience", AUDIENCE.to_owned()),
            ("JwksUrl", format!("{url}/.well-known/jwks.json")),
            ("DatabaseUrl", stores.postgres.url().to_owned()),
            ("CursorKey", dir.lasting("cursor-key")?),
        ];
        let local = [
            ("AWS_ENDPOINT_URL_DYNAMODB", stores.dynamo.endpoint()),
            ("AWS_ENDPOINT_URL_SNS", stores.messaging.endpoint()),
            ("AWS_ENDPOINT_URL_SQS", stores.messaging.endpoint()),
            ("AWS_ENDPOINT_URL_S3", stores.s3.endpoint()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            // A token of a key that was made a moment ago is good at once.
            ("JWKS_MIN_REFETCH_SECONDS", "0"),
        ];
        let mut scope = Scope {
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
            resources: template.resource_names(),
            ..Scope::default()
        };
        messaging::add_to(&mut scope, template, &stores.messaging);
        Ok(Self { template, scope, local: local.map(|(name, value)| (name.to_owned(), value.to_owned())).into() })
    }

    fn of(&self, function: &Function) -> anyhow::Result<BTreeMap<String, String>> {
        let mut environment = self.template.environment(function, &self.scope)?;
        environment.extend(self.local.clone());
        Ok(environment)
    }

    /// All functions' settings in one, for processes that share an environment.
    fn all(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for function in &self.template.functions {
            all.extend(self.of(function)?);
        }
        Ok(all)
    }
}

/// All functions' settings in one, for what runs beside them and not behind the gateway.
pub(crate) fn config_of(template: &Template, dir: &DataDir, stores: &Stores) -> anyhow::Result<Config> {
    Ok(Config::new(lookup(Settings::new(template, "", dir, stores)?.all()?)))
}

fn lookup(environment: BTreeMap<String, String>) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
    move |name| environment.get(name).cloned()
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
