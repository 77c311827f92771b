package audit

// Limits of a record's parts, in bytes unless stated. A record beyond them is refused: what is recorded is recorded whole.
const (
	MaxKeys        = 8   // key versions
	MaxPolicies    = 8   // ids
	MaxPolicyID    = 255 // each
	MaxApprovers   = 16
	MaxItems       = 4096 // of a batch
	minRuns        = 2    // of versions, where a record has any
	MaxResource    = 255
	MaxRequestID   = 64
	MaxReason      = 256
	MaxDetail      = 1024
	MaxPerson      = 255 // display name
	MaxCredential  = 255
	MaxOrigin      = 255
	MaxZone        = 32 // of a link-local address
	maxNamespace   = 63
	MaxBody        = 60 << 10 // encoded; 4096 items of at most 8 bytes, with a version each, and everything else fit
	MaxAnnex       = 1 << 10  // encoded
	minBody        = 84       // encoded: the fixed part and its four shortest fields
	maxItemEncoded = 8
)

// Limits of the log.
const (
	MaxBatch       = 4 << 20  // bytes that wait for the disk before callers wait for room
	MaxGroup       = 1 << 20  // bytes of one AppendAll
	DefaultSegment = 64 << 20 // bytes
	MinSegment     = 64 << 10
	MaxSegment     = 1 << 30
	DefaultReserve = 1 << 20 // bytes kept for administrative records on a full disk
	MaxPage        = 1000    // records of one List
	MaxScan        = 1 << 20 // records that one List looks at before it answers a partial page
	MaxFind        = 1 << 16 // hashes of one Find
)
