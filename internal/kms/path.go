package kms

// Path is what a path of an HTTP API stands for: who may do what with it may take an action. Policies that speak about paths are read with a table of them.
type Path struct {
	Pattern    string // without a slash in front: words, {name} for what names the key or secret, in one segment, {names} for one or more segments, {mount} for a mount of logins, {any} for what does not matter
	List       bool   // the path is that of a folder: with or without a slash at its end
	Capability string // what is asked of the path: "read", "update", …
	Action     Action
	Prefix     string // in front of {name} in the name of the key or secret

	// Whole says that who may take the action here may take it at every path that is so marked: one action stands for all of them, and a
	// policy that permits it by one path alone would permit more than it says.
	Whole bool
}
