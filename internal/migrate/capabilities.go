package migrate

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
)

// mayRead asks what the token may read of a key, and answers whether that is enough for a way. Where the server does not say, the attempt will show it.
func (s *Server) mayRead(ctx context.Context, name string, t *keyType) func(How) bool {
	paths := map[How][]string{
		ByBackup: {s.transit("backup", name)},
		ByExport: {s.transit("export", t.export(), name), s.transit("export", "hmac-key", name)},
	}
	told, err := s.capabilities(ctx, slices.Concat(paths[ByBackup], paths[ByExport]))
	return func(way How) bool {
		if err != nil {
			return true
		}
		for _, p := range paths[way] {
			if has, ok := told[p]; ok && !slices.Contains(has, "read") && !slices.Contains(has, "root") {
				return false
			}
		}
		return true
	}
}

func (s *Server) capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	body, err := json.Marshal(struct {
		Paths []string `json:"paths"`
	}{paths})
	if err != nil {
		return nil, err
	}
	a, err := s.call(ctx, http.MethodPost, "sys/capabilities-self", body)
	if err != nil {
		return nil, err
	}
	defer a.erase()
	// Beside the paths, data has a list of what all of them allow.
	var told map[string][]string
	if err := into(a, &told); err != nil {
		return nil, err
	}
	return told, nil
}
