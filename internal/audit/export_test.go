package audit

// NoteAt is what tests look at.
var NoteAt = noteAt
