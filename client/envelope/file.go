package envelope

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// Info is what a header says. It is authenticated only if the file was opened: Inspect opens nothing.
type Info struct {
	Recipients  []RecipientInfo `json:"recipients"`
	Context     client.Context  `json:"context,omitempty"`
	SegmentSize int             `json:"segment_size"` // bytes, encrypted
	HeaderSize  int64           `json:"header_size"`  // bytes before the stream
}

// PlaintextSize is how many bytes a file of a length has inside, if it is whole.
func (i Info) PlaintextSize(length int64) (int64, bool) {
	body, segment := length-i.HeaderSize-floe.HeaderSize, int64(i.SegmentSize)
	if body < floe.Overhead || segment < MinSegmentSize {
		return 0, false
	}
	segments := (body + segment - 1) / segment
	size := body - segments*floe.Overhead
	return size, size >= 0 && body-(segments-1)*segment >= floe.Overhead
}

func (h *header) info() Info {
	i := Info{Context: maps.Clone(h.context), SegmentSize: h.segment, HeaderSize: int64(len(h.encode()) + macSize)}
	for _, s := range h.recipients {
		r, _ := s.info() // it was checked when it was read or made
		i.Recipients = append(i.Recipients, r)
	}
	return i
}

// file is what the recipients are bound to.
func (h *header) file() *file { return &file{binding: h.binding(), context: h.context} }

// readHeader reads up to the stream. encoded is all that the code authenticates.
func readHeader(src io.Reader) (h *header, encoded []byte, err error) {
	head := make([]byte, prefixSize)
	if _, err := io.ReadFull(src, head); err != nil {
		return nil, nil, short(err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		if bytes.HasPrefix(head, []byte(magic[:4])) {
			return nil, nil, formatf("it is of version %d, this program knows %d", head[4], magic[4])
		}
		return nil, nil, formatf("it does not begin like one")
	}
	n := binary.BigEndian.Uint32(head[len(magic):])
	if n > MaxHeader || n < macSize {
		return nil, nil, formatf("its header has %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(src, body); err != nil {
		return nil, nil, short(err)
	}
	if h, err = parseHeader(body); err != nil {
		return nil, nil, err
	}
	return h, slices.Concat(head, body[:n-macSize]), nil
}

// short makes an end that comes too early an error of format.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formatf("it ends before its header does")
	}
	return err
}

// Inspect reads the header of a file without any key. What it says is not authenticated.
func Inspect(src io.Reader) (Info, error) {
	h, _, err := readHeader(src)
	if err != nil {
		return Info{}, err
	}
	return h.info(), nil
}

// MaxIdentities is how many identities can be tried on one file.
const MaxIdentities = 64

// OpenOptions say how a file is opened.
type OpenOptions struct {
	// Identities are tried on the recipients: those that need nobody first, then Keyhold keys, passphrases last.
	Identities []Identity
	// Context holds entries that the file's encryption context must have, with these values. Else: ErrContext, before
	// anything is decrypted. The context may have more entries.
	Context client.Context
}

// openKey finds the file key and authenticates the header.
func openKey(ctx context.Context, h *header, encoded []byte, opt OpenOptions) ([]byte, error) {
	if len(opt.Identities) == 0 || len(opt.Identities) > MaxIdentities {
		return nil, optionsf("%d identities: want 1 to %d", len(opt.Identities), MaxIdentities)
	}
	for name, want := range opt.Context {
		if got, ok := h.context[name]; !ok || got != want {
			return nil, fmt.Errorf("%w: its entry %q is %s, not %q", ErrContext, name, valueOf(got, ok), want)
		}
	}
	f := h.file()
	var failures []error
	for _, kind := range []Kind{KindPublicKey, KindKeyhold, KindPassphrase} {
		for _, s := range h.recipients {
			info, err := s.info()
			if err != nil {
				return nil, err
			}
			for _, id := range opt.Identities {
				if info.Kind != kind || !id.opens(info) {
					continue
				}
				fileKey, err := id.unwrap(ctx, f, s)
				if err == nil {
					return fileKey, h.authenticate(fileKey, encoded)
				}
				failures = append(failures, err)
			}
		}
	}
	switch len(failures) {
	case 0:
		var names []string
		for _, r := range h.info().Recipients {
			names = append(names, r.String())
		}
		return nil, fmt.Errorf("%w: it was encrypted for %s", ErrNoIdentity, strings.Join(names, ", "))
	case 1:
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

func valueOf(value string, ok bool) string {
	if !ok {
		return "missing"
	}
	return fmt.Sprintf("%q", value)
}

// authenticate compares the code of a header; the file key is erased if it does not fit.
func (h *header) authenticate(fileKey, encoded []byte) error {
	want, err := codeOf(fileKey, encoded)
	if err == nil && !equal(want[:], h.code[:]) {
		err = ErrCorrupt
	}
	if err != nil {
		clear(fileKey)
	}
	return err
}
