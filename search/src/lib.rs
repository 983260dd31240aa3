//! Search strategies, budgets, the Pareto front and the journal.

pub mod job;
