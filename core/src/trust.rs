//! What a repository may decide before a person trusts it.
