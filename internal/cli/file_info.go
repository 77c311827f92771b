package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client/envelope"
)

// fileHeader is the JSON of a file's header.
type fileHeader struct {
	File        string            `json:"file"`
	Length      int64             `json:"length,omitempty"`          // bytes, encrypted; not of standard input
	Plaintext   int64             `json:"plaintext_bytes,omitempty"` // if the file is whole
	Recipients  []fileRecipient   `json:"recipients"`
	Context     map[string]string `json:"context,omitempty"`
	SegmentSize int               `json:"segment_size"`
}

func (a *app) fileInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info FILE...", Short: "Show who can open files, without opening them",
		Long: `Show the headers of encrypted files (- is standard input): who can open them, under which key and version, and the encryption context. No key and no
server is needed; what is shown is therefore not authenticated.`,
		Example: "  keyhold file info backup.tar" + fileSuffix,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if a.json() {
				return listing(a, "files", 0, func(yield func(fileHeader, error) bool) {
					for _, name := range args {
						if h, _, err := a.header(name); !yield(h, err) || err != nil {
							return
						}
					}
				}, nil, nil)
			}
			for i, name := range args {
				h, info, err := a.header(name)
				if err != nil {
					return err
				}
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				var entries []string
				for _, k := range slices.Sorted(maps.Keys(h.Context)) {
					entries = append(entries, printable(k+"="+h.Context[k]))
				}
				length := ""
				if h.Length > 0 {
					length = fmt.Sprintf("%s (%s of plaintext)", size(uint64(h.Length)), size(uint64(h.Plaintext))) //nolint:gosec // G115: not negative
				}
				err = a.facts(fact{"file", plain(h.File)}, fact{"size", plain(length)}, fact{"segments", plain(size(uint64(h.SegmentSize)))}, //nolint:gosec // G115: not negative
					fact{"context", plain(strings.Join(entries, "\n"))}, fact{"opened by", plain(strings.Join(recipientNames(info), "\n"))})
				if err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: files,
	}
}

func (a *app) header(name string) (fileHeader, envelope.Info, error) {
	src, err := a.source(name, "reading")
	if err != nil {
		return fileHeader{}, envelope.Info{}, err
	}
	defer src.close()
	info, err := envelope.Inspect(src)
	if err != nil {
		return fileHeader{}, info, fileError(err, src.name)
	}
	h := fileHeader{File: src.name, Length: src.length, Recipients: recipientsOf(info), Context: info.Context, SegmentSize: info.SegmentSize}
	if src.length > 0 {
		plaintext, whole := info.PlaintextSize(src.length)
		if !whole {
			return h, info, fileError(envelope.ErrCorrupt, src.name)
		}
		h.Plaintext = plaintext
	}
	return h, info, nil
}
