package envelope

import (
	"context"
	"errors"
	"io"

	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// RewrapOptions say what becomes of a file's recipients.
type RewrapOptions struct {
	// Open opens the file: only who can open it can change its recipients.
	Open OpenOptions
	// Keep tells which recipients stay; nil: all.
	Keep func(RecipientInfo) bool
	// Add are further recipients.
	Add []Recipient
}

// Rewrap writes a file with other recipients to dst, and answers the header before and after. The data are copied as they are,
// neither decrypted nor encrypted again. A Keyhold key that stays gets a data key of its newest version, by the first KeyholdKey among
// the identities; a passphrase or public key that stays is left as it is.
//
// dst must not be src: write another file and put it in the place of the first when Rewrap has succeeded, because a file whose header is
// half written is lost. Who could open the file before, and kept it or its key, still can: to take that away the data must be
// encrypted anew.
func Rewrap(ctx context.Context, dst io.Writer, src io.Reader, opt RewrapOptions) (before, after Info, err error) {
	h, encoded, err := readHeader(src)
	if err != nil {
		return Info{}, Info{}, err
	}
	fileKey, err := openKey(ctx, h, encoded, opt.Open)
	if err != nil {
		return Info{}, Info{}, err
	}
	defer clear(fileKey)
	before = h.info()
	stream, err := checkStream(src, h, fileKey)
	if err != nil {
		return Info{}, Info{}, err
	}
	if h.recipients, err = renewed(ctx, h, fileKey, opt); err != nil {
		return Info{}, Info{}, err
	}
	head, err := h.finish(fileKey)
	if err != nil {
		return Info{}, Info{}, err
	}
	if _, err := dst.Write(append(head, stream...)); err != nil {
		return Info{}, Info{}, err
	}
	return before, h.info(), copyAll(ctx, dst, src)
}

// checkStream reads the head of the stream, which must be that of this file.
func checkStream(src io.Reader, h *header, fileKey []byte) ([]byte, error) {
	head := make([]byte, floe.HeaderSize)
	if _, err := io.ReadFull(src, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrCorrupt
		}
		return nil, err
	}
	key, err := contentKey(fileKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	segment, err := floe.Check(head, key, h.binding())
	if err != nil {
		return nil, outward(err)
	}
	if segment != h.segment {
		return nil, ErrCorrupt
	}
	return head, nil
}

// renewed are the recipients after a change.
func renewed(ctx context.Context, h *header, fileKey []byte, opt RewrapOptions) ([]stanza, error) {
	f := h.file()
	var all []stanza
	for _, s := range h.recipients {
		info, err := s.info()
		if err != nil {
			return nil, err
		}
		if opt.Keep != nil && !opt.Keep(info) {
			continue
		}
		if info.Kind == KindKeyhold {
			if s, err = refresh(ctx, f, fileKey, info, opt.Open.Identities); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	added, _, err := wrapAll(ctx, f, fileKey, opt.Add)
	return append(all, added...), err
}

// refresh wraps the file key under the newest version of the same key.
func refresh(ctx context.Context, f *file, fileKey []byte, info RecipientInfo, ids []Identity) (stanza, error) {
	for _, id := range ids {
		if k, ok := id.(KeyholdKey); ok {
			k.Key = info.KeyID // a name can have gone to another key
			s, _, err := k.wrapAs(ctx, f, fileKey, info.Key)
			return s, err
		}
	}
	return stanza{}, optionsf("%s stays a recipient, and there is no client to get a new data key from", info)
}

// copyPart is how much is copied between two looks at the context, in bytes.
const copyPart = 64 << 20

// copyAll copies the rest, by the operating system alone where it can.
func copyAll(ctx context.Context, dst io.Writer, src io.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, copyPart); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
