// The probe is the program of the self test's pods. It needs no shell and no C library:
//
//	probe serve FOLDER   counts its starts in FOLDER/starts and answers "NAME STARTS" on :8080
//	probe get URL        prints what URL answers
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: probe serve FOLDER | probe get URL")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2])
	case "get":
		err = get(os.Args[2])
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(folder string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	starts, err := countStart(filepath.Join(folder, "starts"))
	if err != nil {
		return err
	}
	fmt.Printf("%s serves, start %d\n", name, starts)
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %d\n", name, starts)
	})
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// countStart makes a lost volume visible: the count would begin anew.
func countStart(path string) (int, error) {
	before, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		before = []byte("0")
	} else if err != nil {
		return 0, err
	}
	starts, err := strconv.Atoi(string(before))
	if err != nil {
		return 0, err
	}
	return starts + 1, os.WriteFile(path, []byte(strconv.Itoa(starts+1)), 0o600)
}

func get(url string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
