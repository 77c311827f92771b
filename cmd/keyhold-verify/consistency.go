package main

import (
	"fmt"
	"io"

	"github.com/keyhold/keyhold/internal/audit/verify"
)

type wayJSON struct {
	Verified   bool           `json:"verified"`
	FromOrigin string         `json:"from_origin"`
	FromSize   uint64         `json:"from_size"`
	FromRoot   string         `json:"from_root"`
	ToOrigin   string         `json:"to_origin"`
	ToSize     uint64         `json:"to_size"`
	ToRoot     string         `json:"to_root"`
	Epochs     int            `json:"epochs"`
	Cosigned   []verify.Vouch `json:"cosigned,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
}

// consistency checks the way from an earlier checkpoint to a later one.
func consistency(path string, keys verify.Keys, o *options, out, errs io.Writer) int {
	text, err := readAll(path)
	if err != nil {
		fmt.Fprintf(errs, "keyhold-verify: read the proof: %v\n", err)
		return wrongUsage
	}
	w, err := verify.Consistency(text, keys)
	if err != nil {
		return refused(path, err, o, out)
	}
	if o.format == "json" {
		err := encode(out, wayJSON{
			true, w.From.Origin, w.From.Size, fmt.Sprintf("%x", w.From.Root), w.To.Origin, w.To.Size, fmt.Sprintf("%x", w.To.Root), w.Epochs, w.Cosigned, w.Notes,
		})
		if err != nil {
			return notVerified
		}
		return verified
	}
	if o.quiet {
		return verified
	}
	fmt.Fprintf(out, "from     %s: %d records, root %x\n", clean(w.From.Origin), w.From.Size, w.From.Root)
	if len(w.CosignedFrom) > 0 {
		fmt.Fprintf(out, "         cosigned by %s\n", clean(verify.Names(w.CosignedFrom)))
	}
	fmt.Fprintf(out, "to       %s: %d records, root %x\n", clean(w.To.Origin), w.To.Size, w.To.Root)
	if len(w.Cosigned) > 0 {
		fmt.Fprintf(out, "         cosigned by %s\n", clean(verify.Names(w.Cosigned)))
	}
	for _, n := range w.Notes {
		fmt.Fprintf(out, "note:    %s\n", clean(n))
	}
	fmt.Fprintf(out, "verified: the later checkpoint covers everything that the earlier one does, unchanged, over %d boot epochs. Compare the earlier one with the one that you kept\n", w.Epochs)
	return verified
}
