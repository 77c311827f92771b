package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/server"
)

// openMemory maps the memory of the root key and the keys below it, and says which kind the kernel gave.
func openMemory(log *slog.Logger) (*arena.Arena, error) {
	memory, err := arena.New()
	if err != nil {
		return nil, fmt.Errorf("memory for the root key: %w", err)
	}
	level := slog.LevelInfo
	if memory.Figures().Kind == arena.Visible {
		level = slog.LevelWarn // it may be swapped out
	}
	log.Log(context.Background(), level, "secret_memory", "kind", memory.Figures().Kind.String(), "bytes", arena.Size, "erasing", secret.Erasing)
	return memory, nil
}

// measureMemory lists the figures of the memory of secrets.
func (n *Node) measureMemory(m *server.Metrics) {
	m.Add(
		server.Figure{Name: "secret_memory_kind", Help: "Memory of the root key and the keys below it: 1 memfd_secret, 2 locked, 3 ordinary.",
			Read: func() float64 { return float64(n.memory.Figures().Kind) }},
		server.Figure{Name: "secret_memory_slots", Help: "Secrets that this memory holds at most.", Read: func() float64 { return float64(n.memory.Figures().Slots) }},
		server.Figure{Name: "secret_memory_used", Help: "Secrets in this memory.", Read: func() float64 { return float64(n.memory.Figures().Used) }},
		server.Figure{Name: "secret_memory_full_total", Help: "Secrets that found no place in it and live on the heap.", Counter: true,
			Read: func() float64 { return float64(n.memory.Figures().Full) }},
	)
}
