//! API Gateway's rules for which route a request takes.

use std::sync::Arc;

use anyhow::{bail, ensure};

use crate::gateway::Cors;

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The binary of the function it goes to.
    pub function: String,
    /// Which requests it takes.
    pub pattern: RoutePattern,
    /// What its API tells browsers, if it is set up to.
    pub cors: Option<Arc<Cors>>,
}

/// A route's method and path, such as `GET /api/v1/{proxy+}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    method: Option<String>,
    segments: Vec<Segment>,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Exact(String),
    One(String),
    Rest(String),
    /// The whole path, whatever it is.
    Anything,
}

/// What a path variable holds, by its name.
pub type PathParameters = Vec<(String, String)>;

impl RoutePattern {
    /// The `$default` route: it takes what no other route does.
    #[must_use]
    pub fn of_the_rest() -> Self {
        Self { method: None, segments: vec![Segment::Anything], key: "$default".to_owned() }
    }

    /// Reads a route as SAM writes it. The method `ANY` takes every method.
    ///
    /// # Errors
    /// If the path does not begin with `/` or goes on after a greedy variable.
    pub fn parse(method: &str, path: &str) -> anyhow::Result<Self> {
        let method = Some(method.to_ascii_uppercase()).filter(|method| method != "ANY");
        let Some(rest) = path.strip_prefix('/') else { bail!("the path must begin with a slash") };
        let segments: Vec<Segment> = rest.split('/').map(Segment::parse).collect();
        let greedy = segments.iter().position(|segment| matches!(segment, Segment::Rest(_)));
        ensure!(greedy.is_none_or(|at| at + 1 == segments.len()), "a greedy variable must be the last one");
        let key = format!("{} {path}", method.as_deref().unwrap_or("ANY"));
        Ok(Self { method, segments, key })
    }

    /// The route key, as events carry it: `GET /healthz`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn matches(&self, method: &str, path: &str) -> Option<PathParameters> {
        if self.method.as_deref().is_some_and(|own| own != method) {
            return None;
        }
        if self.segments == [Segment::Anything] {
            return Some(Vec::new());
        }
        let mut parameters = Vec::new();
        let mut rest = Some(path.strip_prefix('/')?);
        for segment in &self.segments {
            let here = rest?;
            if let Segment::Rest(name) = segment {
                parameters.push((name.clone(), here.to_owned()));
                return (!here.is_empty()).then_some(parameters);
            }
            let (one, after) = here.split_once('/').map_or((here, None), |(one, after)| (one, Some(after)));
            match segment {
                Segment::Exact(own) if own != one => return None,
                Segment::One(name) if !one.is_empty() => parameters.push((name.clone(), one.to_owned())),
                Segment::One(_) => return None,
                Segment::Exact(_) | Segment::Rest(_) | Segment::Anything => {}
            }
            rest = after;
        }
        rest.is_none().then_some(parameters)
    }

    /// Full matches win over variables, variables over greedy ones, those over `$default`; a method
    /// over `ANY`.
    fn precedence(&self) -> (Vec<u8>, bool) {
        let rank = |segment: &Segment| match segment {
            Segment::Exact(_) => 0,
            Segment::One(_) => 1,
            Segment::Rest(_) => 2,
            Segment::Anything => 3,
        };
        (self.segments.iter().map(rank).collect(), self.method.is_none())
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Rest(name.to_owned()),
                None => Self::One(name.to_owned()),
            },
            None => Self::Exact(text.to_owned()),
        }
    }
}

/// The route that takes the request, and its path variables.
#[must_use]
pub fn find<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<(&'a Route, PathParameters)> {
    let matching = routes.iter().filter_map(|route| Some((route, route.pattern.matches(method, path)?)));
    matching.min_by_key(|(route, _)| route.pattern.precedence())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(keys: &[&str]) -> Vec<Route> {
        let route = |key: &&str| {
            let pattern = match key.split_once(' ') {
                Some((method, path)) => RoutePattern::parse(method, path).unwrap(),
                None => RoutePattern::of_the_rest(),
            };
            Route { function: (*key).to_owned(), pattern, cors: None }
        };
        keys.iter().map(route).collect()
    }

    #[track_caller]
    fn assert_takes(routes: &[Route], method: &str, path: &str, expected: Option<&str>) {
        let found = find(routes, method, path).map(|(route, _)| route.function.as_str());
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn the_most_specific_route_takes_the_request() {
        let routes =
            routes(&["ANY /{proxy+}", "GET /pets/{id}", "GET /pets/dog", "ANY /pets/dog", "GET /pets/{rest+}"]);
        assert_takes(&routes, "GET", "/pets/dog", Some("GET /pets/dog"));
        assert_takes(&routes, "POST", "/pets/dog", Some("ANY /pets/dog"));
        assert_takes(&routes, "GET", "/pets/cat", Some("GET /pets/{id}"));
        assert_takes(&routes, "GET", "/pets/cat/1", Some("GET /pets/{rest+}"));
        assert_takes(&routes, "DELETE", "/pets/cat", Some("ANY /{proxy+}"));
    }

    #[test]
    fn the_default_route_takes_every_method_and_path_that_no_other_takes() {
        let routes = routes(&["$default", "GET /healthz", "ANY /api/{proxy+}"]);
        for (method, path) in [
            ("POST", "/healthz"),
            ("HEAD", "/healthz"),
            ("GET", "/"),
            ("GET", "/api/"),
            ("BREW", "/x/y"),
            ("OPTIONS", "*"),
        ] {
            assert_takes(&routes, method, path, Some("$default"));
        }
        assert_takes(&routes, "GET", "/healthz", Some("GET /healthz"));
        assert_takes(&routes, "TRACE", "/api/x", Some("ANY /api/{proxy+}"));
        let (route, parameters) = find(&routes, "GET", "/").unwrap();
        assert_eq!((route.pattern.key(), parameters), ("$default", vec![]));
    }

    #[test]
    fn what_no_route_describes_takes_none() {
        let routes = routes(&["GET /api/v1/{proxy+}", "GET /healthz"]);
        assert_takes(&routes, "GET", "/api/v1", None);
        assert_takes(&routes, "GET", "/api/v1/", None);
        assert_takes(&routes, "POST", "/healthz", None);
        assert_takes(&routes, "GET", "/healthz/", None);
        assert_takes(&routes, "GET", "/", None);
    }

    #[test]
    fn a_greedy_variable_holds_the_rest_of_the_path() {
        let routes = routes(&["GET /api/{version}/{proxy+}"]);
        let (_, parameters) = find(&routes, "GET", "/api/v1/products/P-1").unwrap();
        let expected = [("version", "v1"), ("proxy", "products/P-1")];
        assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_greedy_variable_in_the_middle_is_refused() {
        assert!(RoutePattern::parse("GET", "/{proxy+}/more").is_err());
    }
}
