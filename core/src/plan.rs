//! A plan as Markdown with stable headings, written by an agent, edited by a person.
