// Package policy decides who may do what: Cedar policies of a namespace, below built-in guardrails that no policy can override.
//
// It is pure: no I/O, no clock, no context. Text goes in through Check, which refuses whatever is not strictly valid against
// the Schema, could fail while it is evaluated, or could never take effect; checked policies go through Compile into Rules, an
// immutable snapshot of one namespace; Rules decide and explain.
//
// Invariants, each with a test of its own:
//   - An error while evaluating any policy denies (Cedar itself would skip an erroring forbid).
//   - A request whose principal, action or resource is not completely described is denied, never evaluated: Cedar's "in" is
//     silently false for entities that are not loaded.
//   - The policies of a namespace decide in that namespace and about its own principals only. What operators do to
//     administer it is decided by the built-in rules alone, so that a wrong policy can always be repaired.
//   - Only policies whose scope can match are evaluated (an index by resource, principal and action). A policy whose scope does
//     not match never reaches its conditions, so the index changes neither decision, nor reasons, nor errors.
//   - Separation of duties judges by what a principal could do under any request context, so that it cannot be evaded by
//     managing a key at one hour, or from one address, and using it at another.
//
// Language: https://docs.cedarpolicy.com (Cedar 4), evaluated by cedar-go. The user's page is docs/policy.md.
package policy
