//! Routes: providers and agents that must exist.

use super::Checker;
use crate::config::settings::{RouteKind, TargetSettings};
use crate::config::tree::Path;

impl Checker<'_> {
    fn target(&mut self, target: &TargetSettings, path: &Path) {
        self.known_provider(&target.provider, path.key("provider"));
        if target
            .model
            .as_deref()
            .is_some_and(|model| model.trim().is_empty())
        {
            self.wrong(
                path.key("model"),
                "invalidValue",
                "the model has no name",
                "the name of a model",
            );
        }
    }

    pub(super) fn routing(&mut self) {
        let routing = &self.settings.routing;
        let default = Path::of(&["routing", "default"]);
        for (agent, target) in &routing.default.map {
            let path = default.key("map").key(agent);
            self.known_agent(agent, path.clone());
            self.target(target, &path);
        }
        for agent in routing.default.needs.keys() {
            self.known_agent(agent, default.key("needs").key(agent));
        }
        match (&routing.default.provider, routing.default.kind) {
            (Some(provider), _) => self.known_provider(provider, default.key("provider")),
            (None, RouteKind::Fixed) => {
                self.wrong(
                    default.key("type"),
                    "missingKey",
                    "a fixed route has no provider",
                    "`provider` and `model` beside `type: fixed`",
                );
            }
            (None, _) => {}
        }
        for (index, target) in routing.default.fallback.iter().enumerate() {
            self.target(target, &default.key("fallback").index(index));
        }
        for (index, rule) in routing.rules.iter().enumerate() {
            let path = Path::of(&["routing", "rules"]).index(index);
            self.target(&rule.target, &path.key("use"));
            if let Some(agent) = &rule.when.agent {
                self.known_agent(agent, path.key("when").key("agent"));
            }
        }
        if let Some(downgrade) = &routing.downgrade {
            for (index, target) in downgrade.to.iter().enumerate() {
                self.target(target, &Path::of(&["routing", "downgrade", "to"]).index(index));
            }
        }
    }
}
