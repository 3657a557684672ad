// Probe, Go: prints what a program sees of the pod. The lines are described in tests/matrix.py.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

func endpoint(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	return fmt.Sprint(tcp.IP, " ", tcp.Port)
}

func lookAround() {
	fmt.Println("env", os.Getenv("GREETING"))
	path := os.Getenv("PROBE_FILE")
	text, err := os.ReadFile(path)
	must(err)
	fmt.Println("file", strings.TrimSpace(string(text)))
	entries, err := os.ReadDir(filepath.Dir(path))
	must(err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	sort.Strings(names)
	fmt.Println("list", strings.Join(names, ","))
	must(os.Chdir(filepath.Dir(path)))
	folder, err := os.Getwd()
	must(err)
	found, err := os.Stat(filepath.Base(path))
	must(err)
	fmt.Println("cwd", folder, found.Size())
	child := exec.Command("cat", filepath.Base(path))
	child.Dir = filepath.Dir(path)
	said, err := child.Output()
	must(err)
	fmt.Println("child", strings.TrimSpace(string(said)))
	name, err := os.Hostname()
	must(err)
	fmt.Println("host", name)
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Get(os.Getenv("PROBE_URL"))
	must(err)
	body, err := io.ReadAll(answer.Body)
	must(err)
	fmt.Println("call", strings.TrimSpace(string(body)))
}

func main() {
	lookAround()
	http.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		local := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
		host, port, err := net.SplitHostPort(request.RemoteAddr)
		must(err)
		fmt.Println("request", request.URL.Path, host, port, endpoint(local))
		writer.Header().Set("Content-Length", "10")
		fmt.Fprint(writer, "program go")
		if request.URL.Path == "/stop" {
			writer.(http.Flusher).Flush()
			fmt.Println("bye")
			os.Exit(7)
		}
	})
	listener, err := net.Listen("tcp4", "0.0.0.0:"+os.Getenv("PROBE_PORT"))
	must(err)
	fmt.Println("listening", endpoint(listener.Addr()))
	must(http.Serve(listener, nil))
}
