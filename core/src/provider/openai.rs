//! stub
use super::{Provider, http::Http, settings::ProviderSettings};
use crate::Result;
use std::sync::Arc;
/// stub
pub fn build(_settings: &ProviderSettings, _http: &Http) -> Result<Arc<dyn Provider>> {
    Err(crate::Error::internal("stub"))
}
