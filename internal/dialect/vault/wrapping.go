package vault

// wrappingRoutes are those of wrapped answers.
var wrappingRoutes = flat(
	absent("GET", notYet, "sys/wrapping/lookup"),
	absent("POST", notYet, "sys/wrapping/lookup", "sys/wrapping/rewrap", "sys/wrapping/unwrap", "sys/wrapping/wrap"),
)
