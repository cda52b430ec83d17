// The floor: what the kernel alone costs. One epoll thread without channels, JSON or
// care for slow readers; each text frame goes to every socket with one send(), or back.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 1 << 18 };

// The answer to the sample key of RFC 6455 §1.3, which the load always sends.
static const char yes[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int members[MOST], count;
static char is_open[MOST];
static unsigned char in[MOST], out[MOST];

static void greet(int fd, size_t size) {
  if (size >= 11 && memcmp(in, "GET /health", 11) == 0) {
    send(fd, "HTTP/1.0 200 OK\r\n\r\n", 19, MSG_NOSIGNAL);
    return;
  }
  is_open[fd] = 1;
  members[count++] = fd;
  send(fd, yes, sizeof yes - 1, MSG_NOSIGNAL);
}

static void leave(int fd) {
  for (int i = 0; i < count; i++)
    if (members[i] == fd) {
      members[i] = members[--count];
      break;
    }
  is_open[fd] = 0;
  close(fd);
}

// One masked text frame at a time, as the load's zero mask leaves it.
static size_t answer(int fd, const unsigned char *frame, size_t size, int to_all) {
  if (size < 2) return 0;
  size_t length = frame[1] & 127, head = 2;
  if (length == 126) {
    if (size < 4) return 0;
    length = (size_t)frame[2] << 8 | frame[3];
    head = 4;
  }
  if (size < head + 4 + length) return 0;
  memcpy(out, frame, head);
  out[1] &= 127;
  memcpy(out + head, frame + head + 4, length);
  if (!to_all) send(fd, out, head + length, MSG_NOSIGNAL);
  for (int i = 0; to_all && i < count; i++)
    send(members[i], out, head + length, MSG_NOSIGNAL);
  return head + 4 + length;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int to_all = strcmp(argv[2], "fanout") == 0, on = 1;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(argv[1]))};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
    perror("floor");
    return 1;
  }
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(poll, events, 1024, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          event.data.fd = fd;
          epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        }
        continue;
      }
      ssize_t size = recv(fd, in, sizeof in, 0);
      if (size <= 0) leave(fd);
      else if (!is_open[fd]) greet(fd, (size_t)size);
      else
        for (size_t at = 0, used; at < (size_t)size; at += used)
          if (!(used = answer(fd, in + at, (size_t)size - at, to_all))) break;
    }
  }
}
